"""A folder of class folders: images of one colour for each class."""

from PIL import Image

COLOURS = {"ant": (200, 40, 40), "bee": (40, 200, 40), "cow": (40, 40, 200)}


def write_folder(folder, train=5, validation=2):
    """JPEG to train on and PNG to validate, in several shapes; other files beside."""
    for part, count, kind in (("train", train, "JPEG"), ("val", validation, "png")):
        for name, colour in COLOURS.items():
            own = folder / part / name
            own.mkdir(parents=True)
            (own / "notes.txt").write_text("no image", encoding="utf-8")
            for i in range(count):
                image = Image.new("RGB", (20 + 7 * i, 31), colour)
                image.save(own / f"{i}.{kind}", kind.upper())
    (folder / "train" / ".hidden").mkdir()
    return folder
