//! Context entries of legacy mode (9.3) and of scalable mode (9.4).

mod legacy;
mod scalable;

pub use legacy::{BadContextEntry, Context, ContextEntry, ContextTranslation, TranslationType};
pub use scalable::{BadScalableContextEntry, PasidDirectory, ScalableContextEntry};
