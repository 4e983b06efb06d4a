//! What follows from counting truths against predictions.

/// How much weight of each true class was predicted as each class; with weight 1 for every row, counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Confusion {
    classes: usize,
    /// Truth by truth, prediction by prediction.
    cells: Vec<f64>,
}

/// The figures of one class against all others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassFigures {
    /// Weight of the rows that are of this class.
    pub support: f64,
    /// Of the rows predicted as this class, the share that is; 0 where none is predicted so.
    pub precision: f64,
    /// Of the rows of this class, the share that is predicted so; 0 where there is none.
    pub recall: f64,
    /// Harmonic mean of precision and recall; 0 where both are.
    pub f1: f64,
}

impl Confusion {
    /// Counts rows; class numbers are below `classes`.
    pub fn of(
        truths: &[u32],
        predictions: &[u32],
        weights: Option<&[f64]>,
        classes: usize,
    ) -> Self {
        let mut cells = vec![0.0; classes * classes];
        for (row, (truth, prediction)) in truths.iter().zip(predictions).enumerate() {
            cells[*truth as usize * classes + *prediction as usize] +=
                weights.map_or(1.0, |weights| weights[row]);
        }
        Self { classes, cells }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Weight of the rows of class `truth` predicted as `prediction`.
    pub fn cell(&self, truth: usize, prediction: usize) -> f64 {
        self.cells[truth * self.classes + prediction]
    }

    /// Weight of the rows of this class.
    pub fn support(&self, class: usize) -> f64 {
        (0..self.classes)
            .map(|prediction| self.cell(class, prediction))
            .sum()
    }

    /// Weight of the rows predicted as this class.
    pub fn predicted(&self, class: usize) -> f64 {
        (0..self.classes).map(|truth| self.cell(truth, class)).sum()
    }

    /// Weight of all rows.
    pub fn total(&self) -> f64 {
        self.cells.iter().sum()
    }

    /// The share predicted right; `None` of no rows.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(
            (0..self.classes).map(|class| self.cell(class, class)).sum(),
            self.total(),
        )
    }

    /// The mean of the recalls of the classes that have rows.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let present: Vec<usize> = (0..self.classes)
            .filter(|class| self.support(*class) > 0.0)
            .collect();
        ratio(
            present
                .iter()
                .map(|class| self.figures(*class).recall)
                .sum(),
            present.len() as f64,
        )
    }

    /// Precision, recall and F1 of a class.
    pub fn figures(&self, class: usize) -> ClassFigures {
        let right = self.cell(class, class);
        let (support, predicted) = (self.support(class), self.predicted(class));
        ClassFigures {
            support,
            precision: ratio(right, predicted).unwrap_or(0.0),
            recall: ratio(right, support).unwrap_or(0.0),
            f1: ratio(2.0 * right, support + predicted).unwrap_or(0.0),
        }
    }

    /// The plain mean of a figure over the classes that have rows or predictions.
    pub fn macro_mean(&self, figure: impl Fn(ClassFigures) -> f64) -> Option<f64> {
        let present: Vec<usize> = (0..self.classes)
            .filter(|class| self.support(*class) + self.predicted(*class) > 0.0)
            .collect();
        ratio(
            present
                .iter()
                .map(|class| figure(self.figures(*class)))
                .sum(),
            present.len() as f64,
        )
    }

    /// The mean of a figure over the classes, each by the weight of its rows.
    pub fn weighted_mean(&self, figure: impl Fn(ClassFigures) -> f64) -> Option<f64> {
        let sum = (0..self.classes)
            .map(|class| self.support(class) * figure(self.figures(class)))
            .sum();
        ratio(sum, self.total())
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-12, "{left} is not {right}");
    }

    #[test]
    fn two_classes_by_hand() {
        // 3 true positives, 1 false negative, 2 false positives, 4 true negatives.
        let truths = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0];
        let predictions = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0];
        let confusion = Confusion::of(&truths, &predictions, None, 2);
        let positive = confusion.figures(1);
        close(positive.precision, 3.0 / 5.0);
        close(positive.recall, 3.0 / 4.0);
        close(positive.f1, 2.0 / 3.0);
        close(confusion.accuracy().expect("rows"), 0.7);
        close(
            confusion.balanced_accuracy().expect("rows"),
            (3.0 / 4.0 + 4.0 / 6.0) / 2.0,
        );
        assert_eq!(confusion.cell(0, 1), 2.0);
    }

    #[test]
    fn three_classes_as_scikit_learn() {
        // tests/peers/metrics.py, case "three classes". Class 3 is only predicted, class 4 neither is nor is predicted.
        let truths = [0, 0, 0, 1, 1, 2, 2, 2, 2];
        let predictions = [0, 0, 1, 1, 2, 2, 2, 0, 3];
        let confusion = Confusion::of(&truths, &predictions, None, 5);
        close(
            confusion.macro_mean(|figures| figures.f1).expect("rows"),
            0.4345238095238095,
        );
        close(
            confusion.weighted_mean(|figures| figures.f1).expect("rows"),
            0.5873015873015873,
        );
        close(
            confusion
                .macro_mean(|figures| figures.precision)
                .expect("rows"),
            0.4583333333333333,
        );
        close(
            confusion
                .macro_mean(|figures| figures.recall)
                .expect("rows"),
            0.4166666666666667,
        );
        close(
            confusion.balanced_accuracy().expect("rows"),
            0.5555555555555555,
        );
    }

    #[test]
    fn weight_two_is_the_row_twice() {
        let weighted = Confusion::of(&[0, 1, 1], &[0, 0, 1], Some(&[1.0, 2.0, 1.0]), 2);
        assert_eq!(
            weighted,
            Confusion::of(&[0, 1, 1, 1], &[0, 0, 0, 1], None, 2)
        );
    }

    #[test]
    fn no_rows_no_figures() {
        let nothing = Confusion::of(&[], &[], None, 2);
        assert_eq!(
            (
                nothing.accuracy(),
                nothing.balanced_accuracy(),
                nothing.weighted_mean(|figures| figures.f1)
            ),
            (None, None, None)
        );
        assert_eq!(nothing.figures(0).precision, 0.0);
    }
}
