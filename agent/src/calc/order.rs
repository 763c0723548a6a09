//! `order` of tiers and policies as something that sorts.

/// Compared by value; none sorts after all numbers, like infinity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order(f64);

impl Order {
    pub(crate) fn of(order: Option<f64>) -> Self {
        // Adding zero makes one of the two zeros, which are equal by value and not by bits.
        Self(order.unwrap_or(f64::INFINITY) + 0.0)
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Order {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_compare_by_value_and_none_is_last() {
        let cases = [
            ("a number before a larger one", Some(-1.5), Some(2.0), true),
            ("the zeros are one", Some(-0.0), Some(0.0), false),
            ("the zeros are one, the other way round", Some(0.0), Some(-0.0), false),
            ("any number before none", Some(1e300), None, true),
            ("none is not before none", None, None, false),
        ];
        for (why, a, b, before) in cases {
            assert_eq!(Order::of(a) < Order::of(b), before, "{why}");
        }
    }
}
