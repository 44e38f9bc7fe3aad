//! Powers in integers: the same on every machine, with a stated error.

/// One, in numbers with 48 binary places.
pub(super) const ONE: u128 = 1 << PLACES;
const PLACES: u32 = 48;

/// Binary places of the exponents of [`power_of_two`].
const EXPONENT_PLACES: u32 = 16;
/// One octave: [`power_of_two`] of it is twice that of nothing.
pub(super) const OCTAVE: i32 = 1 << EXPONENT_PLACES;

/// Rounded down. Of at most 2^32 in value, so that nothing overflows.
const fn root(number: u128) -> u128 {
    (number << PLACES).isqrt()
}

/// `ratio^(0/256)`, `ratio^(1/256)` ... `ratio^(256/256)`, in 48 binary places. The first is one, the last the ratio, both
/// exactly; those between are below the true ones by less than 2^-38 of them, and none is below the one before.
///
/// The 256th root is eight square roots, each too small by less than 2^-48, and every product is cut once.
pub(super) fn powers(ratio: u32) -> [u128; 257] {
    let ratio = u128::from(ratio.max(1)) << PLACES;
    let step = (0..8).fold(ratio, |number, _| root(number));
    let mut powers = [ONE; 257];
    for index in 1..256 {
        powers[index] = (powers[index - 1] * step) >> PLACES;
    }
    powers[256] = ratio;
    powers
}

/// 2 to the power of `exponent / OCTAVE`, in millionths, rounded to the nearest; exactly 1 000 000 for 0. Never falls as
/// the exponent rises. Exponents beyond 32 octaves either way count as 32.
pub(super) fn power_of_two(exponent: i32) -> u64 {
    let exponent = exponent.clamp(-32 * OCTAVE, 32 * OCTAVE);
    let (octaves, fraction) = (exponent.div_euclid(OCTAVE), exponent.rem_euclid(OCTAVE));
    let (mut power, mut factor) = (ONE, ONE << 1);
    for place in (0..EXPONENT_PLACES).rev() {
        factor = root(factor);
        if fraction & (1 << place) != 0 {
            power = (power * factor) >> PLACES;
        }
    }
    // Below 2^20 * 2^49: shifted by at most 32 to either side, it fits.
    let millionths = power * 1_000_000;
    let places = PLACES.saturating_add_signed(-octaves);
    let nearest = (millionths + (1 << (places - 1))) >> places;
    u64::try_from(nearest).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn powers_rise_from_one_to_the_ratio_along_the_exponential(ratio in 1_u32..=1_000_000) {
            let powers = powers(ratio);
            prop_assert_eq!(powers[0], ONE);
            prop_assert_eq!(powers[256], u128::from(ratio) << PLACES);
            prop_assert!(powers.is_sorted());
            for (index, power) in powers.iter().enumerate() {
                let exact = f64::from(ratio).powf(index as f64 / 256.0);
                let error = (*power as f64 / ONE as f64) / exact - 1.0;
                prop_assert!(error.abs() < 1e-11, "{error} at {index}");
            }
        }

        #[test]
        fn powers_of_two_are_the_nearest_millionths_and_never_fall(exponent in -10 * OCTAVE..10 * OCTAVE) {
            let exact = 1e6 * (f64::from(exponent) / f64::from(OCTAVE)).exp2();
            prop_assert!((power_of_two(exponent) as f64 - exact).abs() < 0.501, "{} for {exact}", power_of_two(exponent));
            prop_assert!(power_of_two(exponent) <= power_of_two(exponent + 1));
        }
    }

    #[test]
    fn whole_octaves_are_exact() {
        assert_eq!(power_of_two(0), 1_000_000);
        assert_eq!(power_of_two(3 * OCTAVE), 8_000_000);
        assert_eq!(power_of_two(-2 * OCTAVE), 250_000);
        assert_eq!(power_of_two(i32::MAX), 1_000_000 << 32);
        assert_eq!(power_of_two(i32::MIN), 0);
    }
}
