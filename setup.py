"""Map the top-level folders onto the `etude` package: `grammar/` imports as `etude.grammar`, and so on."""

from setuptools import find_packages, setup

FOLDERS = ("grammar", "compiler", "runtime", "backends")
packages = ["etude"]
for folder in FOLDERS:
    packages += [f"etude.{folder}", *(f"etude.{folder}.{name}" for name in find_packages(folder))]
setup(packages=packages, package_dir={"etude": "etude", **{f"etude.{folder}": folder for folder in FOLDERS}})
