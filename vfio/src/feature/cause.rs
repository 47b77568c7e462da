//! What each errno means, feature by feature: from the kernel's source and documentation.

use rustix::io::Errno;

use super::Feature;

pub(super) fn of_feature(feature: Feature, errno: Errno) -> &'static str {
    let special = match feature {
        Feature::VfToken | Feature::Migration | Feature::MigrationDataSize | Feature::BusMaster => {
            None
        }
        Feature::MigrationState => migration_state(errno),
        Feature::LowPower | Feature::LowPowerWithWakeup | Feature::LowPowerExit => low_power(errno),
        Feature::DmaLogging | Feature::DmaLoggingStop | Feature::DmaLoggingReport => logging(errno),
        Feature::DmaBuf => dma_buf(errno),
        Feature::PreCopyInfoV2 => {
            (errno == Errno::INVAL).then_some("the device has no states before it is stopped")
        }
        Feature::ZpciError => (errno == Errno::NOMSG).then_some("no error is pending"),
    };
    special.unwrap_or_else(|| common(errno))
}

/// What every feature can answer.
fn common(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => "the device has the feature, and refuses this use of it",
        Errno::NODEV => "the device is going away",
        Errno::IO => "the device does not answer, or could not be woken up",
        Errno::FAULT => "memory that the call names is not accessible",
        Errno::NOMEM => "the kernel, or the device, is out of memory",
        Errno::BUSY => "the device is busy, or being reset",
        Errno::PROTO => "the kernel answered with a number that this feature has not",
        _ => "not a documented answer of this feature",
    }
}

fn migration_state(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => {
            "there is no way from the device's state to this one, or the data that the device was \
             given are incomplete, or not of a device that is like it"
        }
        Errno::MFILE | Errno::NFILE => {
            "too many open files: the data of the device come as one, and the device is in the new \
             state without it"
        }
        Errno::NOTCONN | Errno::TIMEDOUT => "the device does not answer",
        _ => return None,
    })
}

fn low_power(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => "the device is in a low-power state already, or the file is no eventfd",
        Errno::BADF => "the eventfd is not open",
        _ => return None,
    })
}

fn dma_buf(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL | Errno::OVERFLOW => {
            "a part is empty, not made of whole pages or outside of the BAR, or there is none, or \
             the machine has no peer-to-peer DMA"
        }
        Errno::NODEV => "not a BAR that can be claimed, or the device is going away",
        Errno::MFILE | Errno::NFILE => "too many open files",
        _ => return None,
    })
}

fn logging(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => {
            "the device is recording already, or is not, or cannot record such pages or ranges"
        }
        Errno::TOOBIG => "more ranges than the kernel takes",
        Errno::OVERFLOW => "a range reaches the end of the address space",
        Errno::OPNOTSUPP => "the device cannot record now",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_goes_without_words() {
        for feature in Feature::ALL {
            for raw in 1..134 {
                assert!(!of_feature(feature, Errno::from_raw_os_error(raw)).is_empty());
            }
        }
        assert_ne!(
            of_feature(Feature::LowPower, Errno::INVAL),
            of_feature(Feature::DmaLogging, Errno::INVAL)
        );
    }
}
