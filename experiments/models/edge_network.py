"""Edge-conditioned graph convolutions, and the network of the QM9 experiments.

The convolution is that of Gilmer et al. (arXiv 1704.01212), NNConv in PyTorch
Geometric: the matrix that carries features along an edge is itself the output of a
small network of the edge's features. Nodes are rows: edges gather and sum rows.

Edges come in kinds with the same features, such as the four bonds of chemistry. The
small network therefore runs once a kind, not once an edge, and every node is multiplied
by the matrix of every kind: the same numbers for any features. With the 4 kinds of
QM9 a step of 32 molecules takes 0.2 ms on two cores, edge by edge 1.7; a dense
adjacency matrix per kind, in the place of the sum over edges, 0.4.
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
      nodes: features, ``[B, N, F]``.
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
        nodes, (fan_in, fan_out) = len(x_NxI), self.root.kernel.shape
        matrices = self.edge_out(nnx.relu(self.edge_in(features_KxD)))
        matrices_KxIxO = matrices.reshape(-1, fan_in, fan_out)
        sent = jnp.einsum("ni,kio->nko", x_NxI, matrices_KxIxO)
        received = jax.ops.segment_sum(sent[sources, kinds], targets, nodes)
        return self.root(x_NxI) + received + self.bias[...][None]


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
        batch, nodes, _ = graphs.nodes.shape
        first_node = nodes * jnp.arange(batch)[:, None]
        sources, targets = (
            (first_node + ends).ravel() for ends in (graphs.sources, graphs.targets)
        )
        edges = sources, targets, graphs.kinds.ravel(), features_KxD
        x = graphs.nodes.reshape(batch * nodes, -1)
        x = nnx.relu(self.convolution_1(x, *edges))
        x = nnx.relu(self.convolution_2(x, *edges))
        is_node = jnp.arange(nodes)[None] < graphs.node_count[:, None]
        pooled = jnp.sum(x.reshape(batch, nodes, -1), axis=1, where=is_node[:, :, None])
        return self.head(nnx.relu(self.hidden(pooled)))[:, 0]


def _linear(fan_in: int, fan_out: int, *, use_bias: bool = True, rngs: nnx.Rngs):
    """A linear layer on rows, started as PyTorch's."""
    return nnx.Linear(
        fan_in,
        fan_out,
        use_bias=use_bias,
        kernel_init=kernel_uniform,
        bias_init=bias_uniform(fan_in),
        rngs=rngs,
    )
