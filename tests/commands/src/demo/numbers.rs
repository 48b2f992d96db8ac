//! Numbers and bars as people read them.

/// A number with its thousands apart: `50,112`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with what is counted: `1 catch-up pass`, `3 catch-up passes`.
pub(super) fn plural(number: u64, one: &str) -> String {
    let ending = match number {
        1 => "",
        _ if one.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {one}{ending}", grouped(number))
}

/// A bar of `width` characters, so much of it full.
pub(super) fn bar(part: u64, whole: u64, width: usize) -> String {
    let width = width as u64;
    let full = (part * width).checked_div(whole).unwrap_or(0).min(width);
    let cells: String = (0..width)
        .map(|cell| if cell < full { '█' } else { '░' })
        .collect();
    format!("▕{cells}▏")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn what_is_counted_is_named_by_the_number() {
        assert_eq!(plural(1, "migration"), "1 migration");
        assert_eq!(plural(1_000, "migration"), "1,000 migrations");
        assert_eq!(plural(0, "catch-up pass"), "0 catch-up passes");
    }

    #[test]
    fn a_bar_is_full_at_the_end_and_never_longer() {
        assert_eq!(bar(0, 10, 4), "▕░░░░▏");
        assert_eq!(bar(5, 10, 4), "▕██░░▏");
        assert_eq!(bar(12, 10, 4), "▕████▏");
        assert_eq!(bar(3, 0, 2), "▕░░▏");
    }
}
