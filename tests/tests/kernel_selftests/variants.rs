//! One test per function and variant.

/// Makes tests of functions that take a fixture: beside each function stands a module of its name, with a test for each
/// variant.
///
/// ```ignore
/// per_variant! { Fixture [no_domain, mock_domain]: ioas_destroy, area }
/// ```
/// gives `area::no_domain`, which calls `area(Fixture::no_domain())`, and three more.
macro_rules! per_variant {
    ($fixture:ident $variants:tt: $($function:ident),+ $(,)?) => {
        $(per_variant!(@ $fixture $variants $function);)+
    };
    (@ $fixture:ident [$($variant:ident),+ $(,)?] $function:ident) => {
        mod $function {
            $(
                #[test]
                #[ignore = "needs the lab's kernel: cargo lab test"]
                fn $variant() {
                    super::$function(super::$fixture::$variant());
                }
            )+
        }
    };
}
