//! An observer that makes `tracing` events of what it sees.

use rustix::io::Errno;
use tracing::{debug, trace, warn};

use crate::observe::{DropRefusal, IoctlEvent, Observer};

/// Makes an event of the crate `tracing` of every ioctl, and of every refusal that a drop had to
/// swallow. With the feature `tracing`.
///
/// All events have the target `iommufd`.
///
/// | what | level | fields |
/// |---|---|---|
/// | an ioctl that the kernel has done | `TRACE` | `ioctl`: the name in C; `request`: the number; `elapsed_ns` |
/// | one that it has refused | `DEBUG` | these, `errno`, and `error`: the errno in words |
/// | a refusal in a drop | `WARN` | `object`: the kind that stays; `error`: why |
///
/// Refusals are no more than `DEBUG`, as many are answers: a kernel is asked for what it may not
/// have. The caller has the error.
///
/// The subscriber runs on the thread that made the ioctl, after it, with no lock of the SDK held.
/// While nobody listens to an event's level it costs as good as nothing; the time of the call is
/// taken all the same.
///
/// ```no_run
/// # fn main() -> iommufd::Result<()> {
/// use std::sync::Arc;
///
/// use iommufd::{Ioas, Iommufd, TracingObserver};
///
/// // A subscriber of your choice, such as `tracing_subscriber::fmt()`, is set up before.
/// let observer = Arc::new(TracingObserver::new());
/// let iommufd = Iommufd::builder().observer(observer).open()?;
/// // TRACE iommufd: done ioctl="IOMMU_IOAS_ALLOC" request=15233 elapsed_ns=2100
/// let ioas = Ioas::new(&iommufd)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TracingObserver;

impl TracingObserver {
    /// For [`IommufdBuilder::observer`](crate::IommufdBuilder::observer).
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Observer for TracingObserver {
    fn ioctl(&self, event: &IoctlEvent) {
        let ioctl = event.ioctl.name;
        let request = event.ioctl.request;
        // Five hundred years of nanoseconds are a `u64`.
        let elapsed_ns = u64::try_from(event.elapsed.as_nanos()).unwrap_or(u64::MAX);
        match event.result {
            Ok(()) => trace!(target: "iommufd", ioctl, request, elapsed_ns, "done"),
            Err(error) => debug!(
                target: "iommufd",
                ioctl,
                request,
                errno = Errno::raw_os_error(error),
                %error,
                elapsed_ns,
                "refused"
            ),
        }
    }

    fn refused_drop(&self, refusal: &DropRefusal<'_>) {
        let error = refusal.error;
        warn!(target: "iommufd", object = refusal.object, %error, "not let go of in a drop");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt;
    use std::sync::Arc;
    use std::time::Duration;

    use iommufd_sys::ioctl::iommufd as nr;
    use parking_lot::Mutex;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;
    use crate::error::Error;

    /// One event: its level, target, and fields, with the message among them.
    type Seen = (Level, &'static str, BTreeMap<&'static str, String>);

    /// Remembers all events.
    #[derive(Clone, Default)]
    struct Listener(Arc<Mutex<Vec<Seen>>>);

    impl Subscriber for Listener {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let metadata = event.metadata();
            let seen = (*metadata.level(), metadata.target(), fields.0);
            self.0.lock().push(seen);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[derive(Default)]
    struct Fields(BTreeMap<&'static str, String>);

    impl Visit for Fields {
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name(), value.to_owned());
        }

        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }
    }

    /// The events of what `work` does.
    fn seen(work: impl FnOnce(&dyn Observer)) -> Vec<Seen> {
        let listener = Listener::default();
        let subscriber = listener.clone();
        tracing::subscriber::with_default(subscriber, || work(&TracingObserver::new()));
        std::mem::take(&mut *listener.0.lock())
    }

    fn fields<const N: usize>(fields: [(&'static str, &str); N]) -> BTreeMap<&'static str, String> {
        fields
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect()
    }

    #[test]
    fn an_ioctl_is_an_event_with_its_name_answer_and_time() {
        let elapsed = Duration::from_nanos(1_234_567);
        let ioctl = nr::IOAS_ALLOC.describe();
        let events = seen(|observer| {
            observer.ioctl(&IoctlEvent::new(ioctl, Ok(()), elapsed));
            observer.ioctl(&IoctlEvent::new(ioctl, Err(Errno::INVAL), Duration::MAX));
        });
        let done = fields([
            ("message", "done"),
            ("ioctl", "IOMMU_IOAS_ALLOC"),
            ("request", "15233"),
            ("elapsed_ns", "1234567"),
        ]);
        let refused = fields([
            ("message", "refused"),
            ("ioctl", "IOMMU_IOAS_ALLOC"),
            ("request", "15233"),
            ("errno", "22"),
            ("error", &Errno::INVAL.to_string()),
            ("elapsed_ns", &u64::MAX.to_string()),
        ]);
        assert_eq!(
            events,
            [
                (Level::TRACE, "iommufd", done),
                (Level::DEBUG, "iommufd", refused),
            ]
        );
    }

    #[test]
    fn a_refused_drop_is_a_warning() {
        let events = seen(|observer| {
            let error = &Error::NotAttached;
            let object = "page table";
            observer.refused_drop(&DropRefusal { object, error });
        });
        let expected = fields([
            ("message", "not let go of in a drop"),
            ("object", "page table"),
            ("error", &Error::NotAttached.to_string()),
        ]);
        assert_eq!(events, [(Level::WARN, "iommufd", expected)]);
    }
}
