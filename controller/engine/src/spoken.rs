//! Durations as people read them.

use jiff::SignedDuration;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A length of time the way kubectl tells an age, with two or three figures: `14s`, `5m3s`, `47m`, `2h15m`, `3d4h`.
///
/// The same limits and the same rounding, always down, as `HumanDuration` in
/// `k8s.io/apimachinery/pkg/util/duration`. A negative length is what clocks that differ make of none: `0s`.
pub(crate) fn human(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let two = |large: i64, large_unit: char, small: i64, small_unit: char| {
        let (whole, rest) = (seconds / large, seconds % large / small);
        if rest == 0 {
            format!("{whole}{large_unit}")
        } else {
            format!("{whole}{large_unit}{rest}{small_unit}")
        }
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, 'm', 1, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, 'h', MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, 'd', HOUR, 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, 'y', DAY, 'd'),
        252_288_000.. => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, HOUR, MINUTE, YEAR, human};
    use jiff::SignedDuration;

    /// The rows of `TestHumanDuration` in kubectl's own package, and the edges between its forms.
    #[test]
    fn a_length_is_told_as_kubectl_tells_it() {
        let rows = [
            (-2, "0s"),
            (0, "0s"),
            (1, "1s"),
            (70, "70s"),
            (119, "119s"),
            (2 * MINUTE, "2m"),
            (3 * MINUTE + 10, "3m10s"),
            (10 * MINUTE - 1, "9m59s"),
            (10 * MINUTE, "10m"),
            (10 * MINUTE + 59, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 10 * MINUTE, "3h10m"),
            (8 * HOUR - 1, "7h59m"),
            (8 * HOUR + 5 * MINUTE, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + 59 * MINUTE, "2d"),
            (7 * DAY + 23 * HOUR, "7d23h"),
            (8 * DAY + 23 * HOUR, "8d"),
            (2 * YEAR - 1, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + DAY, "2y1d"),
            (8 * YEAR - 1, "7y364d"),
            (8 * YEAR + 364 * DAY, "8y"),
        ];
        for (seconds, told) in rows {
            assert_eq!(
                human(SignedDuration::from_secs(seconds)),
                told,
                "{seconds} seconds"
            );
        }
        assert_eq!(human(SignedDuration::from_millis(1999)), "1s");
    }
}
