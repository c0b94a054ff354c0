//! How long numbers are held: distributions of answer and talk times, their means when cut short, and draws from them.

use super::rng::Rng;
use serde::Serialize;

/// How times scatter around their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Negative exponential, as telephone calls are usually modelled: deviation equals the mean.
    #[default]
    Exponential,
    /// Always the mean.
    Fixed,
    /// Evenly between 0 and twice the mean.
    Uniform,
    /// Many short and some long: two exponentials, squared coefficient of variation 4.
    Mixed,
}

/// Share of short times of [`Shape::Mixed`]: `(1 + √((c²−1)/(c²+1))) / 2` for c² = 4, so that short and long times make
/// up half of the total each.
const SHORT: f64 = 0.887_298_334_620_741_7;

impl Shape {
    /// The mean of `min(T, cut)` where T has this shape and `mean`. Any unit of time, not negative.
    pub fn mean_until(self, mean: f64, cut: f64) -> f64 {
        let exponential = |mean: f64| -mean * (-cut / mean).exp_m1();
        if mean <= 0.0 {
            return 0.0;
        }
        match self {
            Shape::Exponential => exponential(mean),
            Shape::Fixed => mean.min(cut),
            Shape::Uniform if cut >= 2.0 * mean => mean,
            Shape::Uniform => cut - cut * cut / (4.0 * mean),
            Shape::Mixed => {
                let (short, long) = parts(mean);
                SHORT * exponential(short) + (1.0 - SHORT) * exponential(long)
            }
        }
    }

    /// One time of this shape and `mean`.
    pub fn draw(self, mean: f64, rng: &mut Rng) -> f64 {
        match self {
            Shape::Exponential => rng.exponential(mean),
            Shape::Fixed => mean,
            Shape::Uniform => 2.0 * mean * rng.unit(),
            Shape::Mixed => {
                let (short, long) = parts(mean);
                let part = if rng.unit() < SHORT { short } else { long };
                rng.exponential(part)
            }
        }
    }
}

/// Means of the short and of the long times.
fn parts(mean: f64) -> (f64, f64) {
    (mean / (2.0 * SHORT), mean / (2.0 * (1.0 - SHORT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Shape; 4] = [
        Shape::Exponential,
        Shape::Fixed,
        Shape::Uniform,
        Shape::Mixed,
    ];

    #[test]
    fn means_of_cut_times_are_those_of_draws() {
        for shape in ALL {
            for cut in [0.0, 0.3, 1.0, 1.7, 2.5, f64::INFINITY] {
                let mut rng = Rng::new(7);
                let draws = 200_000;
                let sum: f64 = (0..draws)
                    .map(|_| shape.draw(60.0, &mut rng).min(cut * 60.0))
                    .sum();
                let (drawn, told) = (sum / f64::from(draws), shape.mean_until(60.0, cut * 60.0));
                assert!(
                    (drawn - told).abs() < 1.2,
                    "{shape:?} cut at {cut} means: {drawn} and {told}"
                );
            }
        }
    }

    #[test]
    fn a_time_that_is_not_cut_keeps_its_mean() {
        for shape in ALL {
            let mean = shape.mean_until(60.0, f64::INFINITY);
            assert!((mean - 60.0).abs() < 1e-9, "{shape:?}: {mean}");
            assert_eq!(shape.mean_until(0.0, 5.0), 0.0);
            assert_eq!(shape.mean_until(60.0, 0.0), 0.0);
        }
    }
}
