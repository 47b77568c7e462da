//! One test per function and variant.

/// Makes tests of functions that take a fixture: each function becomes a module, with a test for each variant.
///
/// ```ignore
/// per_variant! { Fixture [no_domain, mock_domain]: destroying::ioas_destroy, mapping::area }
/// ```
/// gives `area::no_domain`, which calls `mapping::area(Fixture::no_domain())`, and three more.
macro_rules! per_variant {
    ($fixture:ident $variants:tt: $($file:ident::$function:ident),+ $(,)?) => {
        $(per_variant!(@ $fixture $variants $file $function);)+
    };
    (@ $fixture:ident [$($variant:ident),+ $(,)?] $file:ident $function:ident) => {
        mod $function {
            $(
                #[test]
                #[ignore = "needs the kernel's mock driver: cargo lab test"]
                fn $variant() {
                    super::$file::$function(super::$fixture::$variant());
                }
            )+
        }
    };
}
