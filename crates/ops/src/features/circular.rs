//! Circular fingerprints of molecules.
//!
//! D. Rogers, M. Hahn: "Extended-connectivity fingerprints", J. Chem. Inf. Model. 50 (2010), 742–754.

use std::collections::HashSet;

use super::{
    molecule::{Molecule, Order},
    murmur,
};

/// Adds one at the place of each circular neighbourhood of the molecule, up to this radius in bonds.
///
/// An atom's first identifier is the hash of seven numbers: neighbours, twice the sum of the orders of its bonds (an
/// aromatic one counts 1.5), atomic number, charge, mass number where given, hydrogens, and whether it is in a ring. In
/// each round it becomes the hash of the round, itself, and order and identifier of each neighbour, sorted. Hashes are
/// MurmurHash3 (32 bits, seed 0) over the numbers as little-endian u32. Of neighbourhoods with the same bonds, the one of
/// the earliest round and then of the least identifier stays. A place is the identifier modulo the length. Hydrogens and
/// stereochemistry do not count.
pub(super) fn count(molecule: &Molecule, radius: u32, places: &mut [f32]) {
    let mut add = |identifier: u32| places[identifier as usize % places.len()] += 1.0;
    let mut identifiers: Vec<u32> = (0..molecule.atoms.len())
        .map(|atom| hash(&invariants(molecule, atom)))
        .collect();
    identifiers.iter().copied().for_each(&mut add);
    let empty = Bonds(vec![0; molecule.bonds.len().div_ceil(64)]);
    let mut covered = vec![empty.clone(); molecule.atoms.len()];
    let mut seen: HashSet<Bonds> = [empty].into();
    for round in 1..=radius {
        let mut next = Vec::with_capacity(identifiers.len());
        let mut wider = covered.clone();
        for (atom, neighbours) in molecule.neighbours.iter().enumerate() {
            let mut around: Vec<[u32; 2]> = neighbours
                .iter()
                .map(|neighbour| {
                    [
                        twice(molecule.bonds[neighbour.bond].order),
                        identifiers[neighbour.atom],
                    ]
                })
                .collect();
            around.sort_unstable();
            let numbers: Vec<u32> = [round, identifiers[atom]]
                .into_iter()
                .chain(around.into_iter().flatten())
                .collect();
            next.push(hash(&numbers));
            for neighbour in neighbours {
                wider[atom].add(neighbour.bond);
                wider[atom].join(&covered[neighbour.atom]);
            }
        }
        let mut order: Vec<usize> = (0..next.len()).collect();
        order.sort_by_key(|atom| next[*atom]);
        for atom in order {
            if seen.insert(wider[atom].clone()) {
                add(next[atom]);
            }
        }
        identifiers = next;
        covered = wider;
    }
}

fn invariants(molecule: &Molecule, place: usize) -> [u32; 7] {
    let atom = &molecule.atoms[place];
    let neighbours = &molecule.neighbours[place];
    [
        neighbours.len() as u32,
        neighbours
            .iter()
            .map(|neighbour| twice(molecule.bonds[neighbour.bond].order))
            .sum(),
        u32::from(atom.number),
        i32::from(atom.charge).cast_unsigned(),
        u32::from(atom.isotope),
        atom.hydrogens,
        u32::from(atom.is_in_ring),
    ]
}

/// Twice the order of a bond.
fn twice(order: Order) -> u32 {
    match order {
        Order::Single => 2,
        Order::Aromatic => 3,
        Order::Double => 4,
        Order::Triple => 6,
        Order::Quadruple => 8,
    }
}

fn hash(numbers: &[u32]) -> u32 {
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    murmur::hash(&bytes)
}

/// A set of bonds, a bit for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Bonds(Vec<u64>);

impl Bonds {
    fn add(&mut self, bond: usize) {
        self.0[bond / 64] |= 1 << (bond % 64);
    }

    fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(smiles: &str, radius: u32) -> Vec<f32> {
        let mut places = vec![0.0; 4096];
        count(&Molecule::parse(smiles).expect(smiles), radius, &mut places);
        places
    }

    fn total(smiles: &str, radius: u32) -> (usize, f32) {
        let places = counts(smiles, radius);
        (
            places.iter().filter(|place| **place > 0.0).count(),
            places.iter().sum(),
        )
    }

    #[test]
    fn neighbourhoods_are_counted_once() {
        // Ethanol: three different atoms; after one round the middle covers both bonds and each end one; after two rounds
        // every atom covers both bonds, which the middle had before.
        assert_eq!(total("CCO", 0), (3, 3.0));
        assert_eq!(total("CCO", 1), (6, 6.0));
        assert_eq!(total("CCO", 2), (6, 6.0));
        // Benzene: six equal atoms, six equal pairs of bonds, six equal runs of four, then the ring.
        assert_eq!(total("c1ccccc1", 0), (1, 6.0));
        assert_eq!(total("c1ccccc1", 2), (3, 18.0));
        assert_eq!(total("c1ccccc1", 3), (4, 19.0));
        assert_eq!(total("C", 2), (1, 1.0));
    }

    #[test]
    fn writing_does_not_matter() {
        for (one, other) in [
            ("CCO", "OCC"),
            ("c1ccccc1", "C1=CC=CC=C1"),
            ("CC(=O)Oc1ccccc1C(=O)O", "OC(=O)C1=CC=CC=C1OC(C)=O"),
            ("Cn1cnc2c1c(=O)n(C)c(=O)n2C", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C"),
            ("[H]OC([H])([H])C", "CCO"),
            ("C/C=C/C", "C/C=C\\C"),
            ("O=C1NC(=O)NC(=O)N1", "O=c1[nH]c(=O)[nH]c(=O)[nH]1"),
            ("C1CC1.[Na+]", "[Na+].C1CC1"),
        ] {
            assert_eq!(counts(one, 3), counts(other, 3), "{one} {other}");
        }
        assert_ne!(counts("CCO", 1), counts("CCN", 1));
        assert_ne!(counts("CCC", 1), counts("CC=C", 1));
        assert_ne!(counts("CC(=O)[O-]", 0), counts("CC(=O)O", 0));
    }

    #[test]
    fn places_are_the_same_for_ever() {
        let first: Vec<usize> = (0..4096)
            .filter(|place| counts("CCO", 1)[*place] > 0.0)
            .collect();
        assert_eq!(first, [4, 951, 1384, 2297, 2522, 2903]);
    }
}
