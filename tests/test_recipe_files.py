"""Recipes are found and described without importing them."""

from ignite_vision import recipe_files as catalogue


def test_every_recipe_of_the_product_is_there():
    wanted = {
        "caltech256",
        "stanford_dogs",
        "cifar10",
        "cifar10_resnet18",
        "fashion_mnist",
        "digits",
        "folder",
    }
    assert set(catalogue.names()) == wanted


def test_every_recipe_opens_with_a_title_and_its_command():
    for name in catalogue.names():
        text = catalogue.docstring(name)
        assert text.splitlines()[0].endswith((".", ".)"))
        assert "ignite-vision run" in text


def test_a_broken_recipe_is_listed_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text('"""Broken."""\nimport nowhere_to_be_found\n')
    monkeypatch.setattr(catalogue, "folder", lambda: tmp_path)
    assert catalogue.names() == ["broken"]
    assert catalogue.docstring("broken") == "Broken."
