//! Powers and logarithms that are the same on every machine: those of a system's library differ in the last bits.

/// Made of square roots and products alone, which every machine rounds alike.
#[must_use]
pub fn power_of_two(exponent: f64) -> f64 {
    let (mut power, mut factor) = (1.0, 2.0_f64);
    let mut whole = exponent.floor();
    let mut rest = exponent - whole;
    while whole > 0.0 {
        (power, whole) = (power * 2.0, whole - 1.0);
    }
    while whole < 0.0 {
        (power, whole) = (power / 2.0, whole + 1.0);
    }
    for _ in 0..40 {
        (factor, rest) = (factor.sqrt(), rest * 2.0);
        if rest >= 1.0 {
            (power, rest) = (power * factor, rest - 1.0);
        }
    }
    power
}

/// Of a number from 1 on, as [`power_of_two`].
#[must_use]
pub fn log2(number: f64) -> f64 {
    let (mut log, mut rest) = (0.0, number);
    while rest >= 2.0 {
        (log, rest) = (log + 1.0, rest / 2.0);
    }
    let mut place = 0.5;
    for _ in 0..40 {
        rest *= rest;
        if rest >= 2.0 {
            (log, rest) = (log + place, rest / 2.0);
        }
        place /= 2.0;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_and_logarithms_are_those_of_the_library() {
        for exponent in [-8.3, -1.0, -0.25, 0.0, 0.5, 1.0, 3.7, 9.99] {
            assert!((power_of_two(exponent) / exponent.exp2() - 1.0).abs() < 1e-10);
        }
        for number in [1.0, 1.5, 2.0, 24.0, 1e6] {
            assert!((log2(number) - f64::log2(number)).abs() < 1e-10);
        }
    }
}
