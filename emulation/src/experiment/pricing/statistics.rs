//! Means over seeds, and how sure they are.

use serde::{Deserialize, Serialize};

/// A mean with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean over all seeds.
    pub mean: f64,
    /// Half the width of the interval.
    pub ci95: f64,
}

impl Mean {
    /// By Student's distribution; of a single value the interval is as wide as can be told, and of none all is zero.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        if values.is_empty() {
            return Self {
                mean: 0.0,
                ci95: 0.0,
            };
        }
        let mean = values.iter().sum::<f64>() / count;
        if values.len() == 1 {
            return Self {
                mean,
                ci95: f64::MAX,
            };
        }
        let squares: f64 = values.iter().map(|it| (it - mean) * (it - mean)).sum();
        let error = (squares / (count - 1.0) / count).sqrt();
        Self {
            mean,
            ci95: student(values.len() - 1) * error,
        }
    }

    /// Whether all of the interval is on one side of zero.
    pub fn is_sure(&self) -> bool {
        self.mean.abs() > self.ci95
    }
}

/// The 97.5 % quantile of Student's distribution (any table of it has these). Beyond 30 degrees of freedom that of 30, which is
/// a little wide.
fn student(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    TABLE[degrees.clamp(1, TABLE.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_as_wide_as_the_table_says() {
        // Mean 3, standard deviation sqrt(2.5), five values.
        let mean = Mean::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((mean.mean - 3.0).abs() < 1e-12);
        assert!((mean.ci95 - 2.776 * 0.5_f64.sqrt()).abs() < 1e-9);
        assert!(mean.is_sure());
        assert!(!Mean::of(&[-1.0, 2.0, -3.0, 4.0]).is_sure());
        assert!(!Mean::of(&[7.0]).is_sure());
        assert_eq!(Mean::of(&[2.0, 2.0]).ci95, 0.0);
    }
}
