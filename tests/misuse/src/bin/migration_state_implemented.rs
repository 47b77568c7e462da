//! Fails with E0277: a state that the kernel has not.

use vfio::migration::{MigrationState, State};

#[derive(Debug)]
struct Paused;

#[cfg(feature = "misuse")]
impl State for Paused {}

fn case(_state: Paused) -> impl IntoIterator<Item = MigrationState> {
    fn is_a_state<S: State>() {}
    is_a_state::<vfio::migration::Running>();
    MigrationState::ALL
}

fn main() {
    let _checked = case;
}
