"""Figures of RDKit that the unit tests of features.smiles are held against.

    pip install rdkit && python tests/peers/molecules.py
"""

from rdkit import Chem
from rdkit.Chem import Descriptors, Lipinski

molecules = ["CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "CC(=O)[O-].[Na+]", "C12C3C4C1C5C2C3C45"]
molecules += ["[NH3+]CC(=O)[O-]", "[2H]O[2H]", "CCC#CCC", "CCN(CC)C(=O)c1ccccc1", "CCNCC", "c1ccccc1-c1ccccc1"]
# Veber's rotatable bonds: between two atoms with other neighbours, outside rings, not at triple bonds, not the C-N of amides.
turning = Chem.MolFromSmarts("[!$(*#*)&!D1]-;!@[!$(*#*)&!D1]")
amide = Chem.MolFromSmarts("[N;!a]-;!@[C]=O")


def rotatable(molecule):
    amides = {frozenset(match[:2]) for match in molecule.GetSubstructMatches(amide)}
    return len({frozenset(match) for match in molecule.GetSubstructMatches(turning)} - amides)


figures = {
    "heavy_atoms": lambda molecule: molecule.GetNumHeavyAtoms(),
    "rings": lambda molecule: len(Chem.GetSSSR(molecule)),
    "aromatic_atoms": lambda molecule: sum(atom.GetIsAromatic() for atom in molecule.GetAtoms()),
    "charge": Chem.GetFormalCharge,
    "hydrogen_donors": Lipinski.NHOHCount,
    "hydrogen_acceptors": Lipinski.NOCount,
    "rotatable_bonds": rotatable,
    "weight": lambda molecule: round(Descriptors.MolWt(molecule), 2),
}
for name, figure in figures.items():
    print(name, [figure(Chem.MolFromSmiles(smiles)) for smiles in molecules])
