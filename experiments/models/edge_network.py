"""Edge-conditioned graph convolutions, and the network of the QM9 experiments.

The convolution is that of Gilmer et al. (arXiv 1704.01212), NNConv in PyTorch
Geometric: the matrix that carries features along an edge is itself the output of a
small network of the edge's features. Nodes are rows: edges gather and sum rows.

Edges come in kinds with the same features, such as the four bonds of chemistry. The
small network therefore runs once a kind, not once an edge, and every node is multiplied
by the matrix of every kind: the same numbers for any features. Sums over neighbours and
products with matrices commute: the first convolution's sums are of the data, and made
once, before training. So a step of 32 molecules of QM9, with 4 kinds, takes 0.2 ms on
two cores; 0.3 with sums in the first convolution too, 1.7 edge by edge.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models.layers import bias_uniform, kernel_uniform


class Graphs(NamedTuple):
    """A batch of graphs of one padded size; node indices are local to a graph.

    What is padded points at a dummy: an edge starts and ends at a node beyond
    ``node_count``.

    Attributes:
      nodes: features of a node, then their sums over the neighbours that edges of every
        kind come from, ``[B, N, 1 + K, F]``.
      node_count: nodes that are no padding: the first so many, ``[B]``.
      sources: node that an edge leaves, ``[B, E]``.
      targets: node that it enters, ``[B, E]``.
      kinds: its kind, ``[B, E]``.
    """

    nodes: jax.Array
    node_count: jax.Array
    sources: jax.Array
    targets: jax.Array
    kinds: jax.Array


class EdgeConvolution(nnx.Module):
    """y_v = b + R x_v + Σ over edges u → v of A(e) x_u, with A(e) of the edge network.

    The edge network is a linear layer, ReLU and a linear layer; b starts at 0, all else
    as PyTorch's linear layers do.

    Args:
      fan_in: features of a node, I.
      fan_out: features of a node after it, O.
      edge_features: features of an edge, D.
      hidden: width of the edge network.
      rngs: source of the initial weights.
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        *,
        edge_features: int,
        hidden: int = 32,
        rngs: nnx.Rngs,
    ):
        self.edge_in = _linear(edge_features, hidden, rngs=rngs)
        self.edge_out = _linear(hidden, fan_in * fan_out, rngs=rngs)
        self.root = _linear(fan_in, fan_out, use_bias=False, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(fan_out))

    def __call__(
        self,
        x_NxI: jax.Array,
        sources: jax.Array,
        targets: jax.Array,
        kinds: jax.Array,
        features_KxD: jax.Array,
    ) -> jax.Array:
        """Features ``[N, O]`` of the nodes.

        Args:
          x_NxI: features of the nodes.
          sources: node that each edge leaves, ``[E]``.
          targets: node that it enters, ``[E]``.
          kinds: its kind, ``[E]``.
          features_KxD: features of the edges of every kind.
        """
        matrices_IxJxO = self._matrices(features_KxD).transpose(1, 0, 2)
        fan_in, *sizes = matrices_IxJxO.shape
        sent = (x_NxI @ matrices_IxJxO.reshape(fan_in, -1)).reshape(-1, *sizes)
        received = jax.ops.segment_sum(sent[sources, 1 + kinds], targets, len(x_NxI))
        return sent[:, 0] + received + self.bias[...][None]

    def of_sums(self, x_NxJxI: jax.Array, features_KxD: jax.Array) -> jax.Array:
        """The same, where the features are summed over neighbours already.

        Args:
          x_NxJxI: features of each node, then their sums over the neighbours that edges
            of every kind come from, J = 1 + K.
          features_KxD: features of the edges of every kind.
        """
        x = x_NxJxI.reshape(len(x_NxJxI), -1)
        matrix = self._matrices(features_KxD).reshape(x.shape[1], -1)
        return x @ matrix + self.bias[...][None]

    def _matrices(self, features_KxD: jax.Array) -> jax.Array:
        """R, then A of every kind, ``[1 + K, I, O]``.

        Multiplied as one plain matrix: products over three axes take twice the time.
        """
        root = self.root.kernel[...][None]
        matrices = self.edge_out(nnx.relu(self.edge_in(features_KxD)))
        return jnp.concatenate([root, matrices.reshape(-1, *root.shape[1:])])


class EdgeNetwork(nnx.Module):
    """Two edge-conditioned convolutions, the sum over nodes, two linear layers; ReLU.

    Args:
      node_features: features of a node, F.
      edge_features: features of an edge, D.
      rngs: source of the initial weights.
    """

    def __init__(self, node_features: int, edge_features: int, *, rngs: nnx.Rngs):
        self.convolution_1 = EdgeConvolution(
            node_features, 32, edge_features=edge_features, rngs=rngs
        )
        self.convolution_2 = EdgeConvolution(
            32, 16, edge_features=edge_features, rngs=rngs
        )
        self.hidden = _linear(16, 32, rngs=rngs)
        self.head = _linear(32, 1, rngs=rngs)

    def __call__(self, graphs: Graphs, features_KxD: jax.Array) -> jax.Array:
        """A number for each graph, ``[B]``."""
        batch, nodes = graphs.nodes.shape[:2]
        first_node = nodes * jnp.arange(batch)[:, None]
        sources, targets = (
            (first_node + ends).ravel() for ends in (graphs.sources, graphs.targets)
        )
        x = graphs.nodes.reshape(batch * nodes, *graphs.nodes.shape[2:])
        x = nnx.relu(self.convolution_1.of_sums(x, features_KxD))
        kinds = graphs.kinds.ravel()
        x = nnx.relu(self.convolution_2(x, sources, targets, kinds, features_KxD))
        is_node = jnp.arange(nodes)[None] < graphs.node_count[:, None]
        pooled = jnp.sum(x.reshape(batch, nodes, -1), axis=1, where=is_node[:, :, None])
        return self.head(nnx.relu(self.hidden(pooled)))[:, 0]


def _linear(
    fan_in: int, fan_out: int, *, use_bias: bool = True, rngs: nnx.Rngs
) -> nnx.Linear:
    """A linear layer on rows, started as PyTorch's."""
    return nnx.Linear(
        fan_in,
        fan_out,
        use_bias=use_bias,
        kernel_init=kernel_uniform,
        bias_init=bias_uniform(fan_in),
        rngs=rngs,
    )
