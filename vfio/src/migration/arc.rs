//! Which ways there are from one state to another.

use super::state::{
    PreCopy, PreCopyP2p, Resuming, Running, RunningP2p, State, Stop, StopCopy, Unsettled,
};

/// There is a way from this state to `T`, which [`Migration::enter`](super::Migration::enter) goes.
///
/// Of those that the kernel has, and no others: the trait is sealed.
#[diagnostic::on_unimplemented(
    message = "the kernel has no way from the migration state `{Self}` to `{T}`",
    label = "no way leads to `{T}` from here",
    note = "what is being copied when it is stopped cannot go back to being copied while it runs, \
            and a device that has failed can only be reset"
)]
pub trait To<T: State>: State + sealed::Sealed<T> {}

mod sealed {
    /// A way.
    #[expect(unnameable_types, reason = "so that nobody else implements `To`")]
    pub trait Sealed<T> {}
}

macro_rules! ways {
    ($($from:ident -> $($to:ident)+;)+) => {
        $($(
            impl To<$to> for $from {}
            impl sealed::Sealed<$to> for $from {}
        )+)+
    };
}

// The finite state machine of `linux/vfio.h`, and the combinations of its arcs that
// `vfio_mig_get_next_state` finds.
ways! {
    Running -> RunningP2p Stop StopCopy Resuming PreCopy PreCopyP2p;
    RunningP2p -> Running Stop StopCopy Resuming PreCopy PreCopyP2p;
    Stop -> Running RunningP2p StopCopy Resuming PreCopy PreCopyP2p;
    StopCopy -> Running RunningP2p Stop Resuming;
    Resuming -> Running RunningP2p Stop StopCopy PreCopy PreCopyP2p;
    PreCopy -> Running RunningP2p Stop StopCopy Resuming PreCopyP2p;
    PreCopyP2p -> Running RunningP2p Stop StopCopy Resuming PreCopy;
    // Where the device is not known to be elsewhere.
    Unsettled -> Running Stop;
}
