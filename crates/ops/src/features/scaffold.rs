//! Scaffolds of molecules.
//!
//! G. W. Bemis, M. A. Murcko: "The properties of known drugs. 1. Molecular frameworks", J. Med. Chem. 39 (1996), 2887–2893.

use std::fmt::Write as _;

use smiles_rs::{Smiles, bond::Bond};

/// The rings of a molecule and what links them, as a canonical SMILES: the same text however the molecule is written. It is
/// empty where there is no ring.
///
/// As in RDKit, atoms and bonds keep their elements, charges and orders, an atom at the other end of a double bond of a ring or
/// linker stays, and hydrogens take the place of what is cut off. Stereochemistry and isotopes do not count.
///
/// # Errors
/// One line that says what is wrong.
pub(super) fn scaffold(graph: &Smiles) -> Result<String, String> {
    if graph.ring_membership().atom_ids().is_empty() {
        return Ok(String::new());
    }
    // Aromatic bonds have no order to count hydrogens by. Some rings in small letters have no double bonds inside at all.
    let graph = graph.kekulize().unwrap_or_else(|_| graph.clone());
    let graph = &graph;
    let core = Core::of(graph);
    let written = core.written(graph);
    let failed = |error: &dyn std::fmt::Display| format!("its scaffold `{written}` fails: {error}");
    let read: Smiles = written
        .parse()
        .map_err(|error: smiles_rs::SmilesErrorWithSpan| failed(&error.smiles_error()))?;
    // The canonical form has double bonds in turn; small letters are what people write.
    let aromatic = read
        .canonicalize()
        .perceive_aromaticity()
        .map_err(|error| failed(&error))?;
    Ok(aromatic.into_aromaticized().render())
}

/// Which atoms of a molecule belong to its scaffold.
struct Core {
    is_kept: Vec<bool>,
}

impl Core {
    fn of(graph: &Smiles) -> Self {
        let rings = graph.ring_membership();
        let count = graph.nodes().len();
        let mut is_kept = vec![true; count];
        let mut left: Vec<usize> = (0..count)
            .map(|atom| graph.edge_count_for_node(atom))
            .collect();
        // Ends are cut off until every end is a ring.
        let mut ends: Vec<usize> = (0..count).filter(|atom| left[*atom] <= 1).collect();
        while let Some(end) = ends.pop() {
            if !is_kept[end] || rings.contains_atom(end) {
                continue;
            }
            is_kept[end] = false;
            for (other, _) in bonds(graph, end) {
                left[other] = left[other].saturating_sub(1);
                if is_kept[other] && left[other] <= 1 {
                    ends.push(other);
                }
            }
        }
        let beside: Vec<usize> = (0..count)
            .filter(|atom| {
                !is_kept[*atom]
                    && bonds(graph, *atom)
                        .any(|(other, bond)| is_kept[other] && bond == Bond::Double)
            })
            .collect();
        for atom in beside {
            is_kept[atom] = true;
        }
        Self { is_kept }
    }

    /// The scaffold as a SMILES in which every bond is a ring closure between parts: nothing has to be walked.
    fn written(&self, graph: &Smiles) -> String {
        let mut text = String::new();
        let mut numbers = std::collections::HashMap::new();
        for (place, atom) in graph.nodes().iter().enumerate() {
            let Some(element) = atom.element().filter(|_| self.is_kept[place]) else {
                continue;
            };
            if !text.is_empty() {
                text.push('.');
            }
            let cut_off: u8 = bonds(graph, place)
                .filter(|(other, _)| !self.is_kept[*other])
                .map(|(_, bond)| order(bond))
                .sum();
            let hydrogens = atom.hydrogen_count() + graph.implicit_hydrogen_count(place) + cut_off;
            let symbol = element.symbol();
            // Writing to a string does not fail.
            let _ = match (symbol, atom.charge_value()) {
                ("B" | "C" | "N" | "O" | "P" | "S", 0) => write!(text, "{symbol}"),
                (_, 0) => write!(text, "[{symbol}H{hydrogens}]"),
                (_, charge) => write!(text, "[{symbol}H{hydrogens}{charge:+}]"),
            };
            for (other, bond) in bonds(graph, place).filter(|(other, _)| self.is_kept[*other]) {
                let next = numbers.len();
                let ends = (place.min(other), place.max(other));
                let number = *numbers.entry(ends).or_insert(next);
                let sign = match bond {
                    Bond::Double => "=",
                    Bond::Triple => "#",
                    Bond::Quadruple => "$",
                    Bond::Single | Bond::Up | Bond::Down => "",
                };
                let _ = write!(text, "{sign}%({number})");
            }
        }
        text
    }
}

/// The atoms beside this one, and the bonds to them.
fn bonds(graph: &Smiles, atom: usize) -> impl Iterator<Item = (usize, Bond)> {
    graph
        .edges_for_node(atom)
        .filter_map(move |edge| Some((edge.other(atom)?, edge.bond())))
}

fn order(bond: Bond) -> u8 {
    match bond {
        Bond::Single | Bond::Up | Bond::Down => 1,
        Bond::Double => 2,
        Bond::Triple => 3,
        Bond::Quadruple => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(smiles: &str) -> String {
        let graph: Smiles = smiles.parse().expect(smiles);
        scaffold(&graph).expect(smiles)
    }

    /// The same graph, whichever way it is written.
    fn same(one: &str, other: &str) -> bool {
        of(one) == of(other)
    }

    #[test]
    fn side_chains_go_rings_and_linkers_stay() {
        // What RDKit's GetScaffoldForMol leaves of each; tests/peers/molecules.py.
        for (molecule, left) in [
            // Aspirin, caffeine, ibuprofen.
            ("CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1"),
            ("Cn1cnc2c1c(=O)n(C)c(=O)n2C", "O=c1[nH]c(=O)c2[nH]cnc2[nH]1"),
            ("CC(C)Cc1ccc(cc1)C(C)C(=O)O", "c1ccccc1"),
            // Imatinib: five rings and their linkers, with the oxygen of the amide.
            (
                "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(n1)-c1cccnc1",
                "O=C(Nc1cccc(Nc2nccc(-c3cccnc3)n2)c1)c1ccc(CN2CCNCC2)cc1",
            ),
            // Cortisone: the double bonds of the rings to oxygen stay, side chain and methyl groups go.
            (
                "C[C@]12CCC(=O)C=C1CC[C@@H]3[C@@H]2C(=O)C[C@]4([C@H]3CC[C@@]4(C(=O)CO)O)C",
                "O=C1C=C2CCC3C4CCCC4CC(=O)C3C2CC1",
            ),
            // A charge that a ring keeps, and a salt's other half.
            ("C[N+]1(C)CCCCC1.[Br-]", "C1CC[NH2+]CC1"),
            // A nitro group hangs on a single bond.
            ("O=[N+]([O-])c1ccccc1", "c1ccccc1"),
            // Isotopes and double-bond stereochemistry.
            ("[2H]C1([13CH3])CC1/C=C/C1CC1", "C(=CC1CC1)C1CC1"),
        ] {
            assert!(same(molecule, left), "{} is not {}", of(molecule), of(left));
            assert!(
                same(left, &of(left)),
                "a scaffold is its own scaffold: {left}"
            );
        }
    }

    #[test]
    fn without_a_ring_nothing_is_left() {
        for molecule in ["CCO", "[Na+].[Cl-]", "CC(=O)[O-].[Na+]", "[H][H]", "C"] {
            assert_eq!(of(molecule), "", "{molecule}");
        }
    }

    #[test]
    fn writing_does_not_matter() {
        for (one, other) in [
            ("CC(=O)Oc1ccccc1C(=O)O", "OC(=O)C1=CC=CC=C1OC(C)=O"),
            ("c1ccc2[nH]ccc2c1", "C1=CC=C2C(=C1)C=CN2CC"),
            ("O=c1[nH]c(=O)[nH]c(=O)[nH]1", "O=C1NC(=O)NC(=O)N1C"),
            ("[H]C1([H])CC1", "C1CC1"),
            ("C1CC1.c1ccccc1", "CC1=CC=CC=C1.C1CC1"),
        ] {
            assert!(same(one, other), "{} is not {}", of(one), of(other));
        }
        for (one, other) in [
            ("C1CCCCC1", "c1ccccc1"),
            ("c1ccncc1", "c1ccccc1"),
            ("c1ccccc1Cc1ccccc1", "c1ccccc1-c1ccccc1"),
            // Equal degrees everywhere: only the rings tell them apart.
            ("C1CCC2CCCCC2C1", "C1CCC(C1)C1CCCC1"),
            ("O=C1CCCCC1", "C1CCCCC1"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }
}
