//! Fails with E0599: a handle of a vector that nobody has been given: the vector could not be told to be free.

use std::sync::Arc;

use vfio::OwnedVector;

fn case(vector: OwnedVector) -> (Arc<OwnedVector>, Arc<OwnedVector>) {
    #[cfg(feature = "misuse")]
    let second = Arc::new(vector.clone());
    let vector = Arc::new(vector);
    #[cfg(not(feature = "misuse"))]
    let second = Arc::clone(&vector);
    (vector, second)
}

fn main() {
    let _checked = case;
}
