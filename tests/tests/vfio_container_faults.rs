//! Groups and containers while the kernel fails.

use std::sync::Arc;

use iommufd::{Access, Leaks, Mapped};
use tests::at::{PAGE, page};
use tests::edu::{assert_free, lone};
use tests::faults::{Points, sweep};
use tests::groups::{KINDS, group};
use tests::memory::{Living, Memory};
use vfio::{Container, Error, Refused};

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_group_has_joined_or_is_as_it_was() {
    for kind in KINDS {
        let mut errors = 0;
        sweep(Points::Everywhere, |nth| {
            let (container, _) = kind();
            let open = group(lone());
            let member = match nth.armed(|| open.join(&container)) {
                Ok(member) => member,
                Err(refused) => {
                    assert!(nth.failed(), "{refused}");
                    errors += 1;
                    // What was not done is done now.
                    refused.into_value().join(&container).unwrap()
                }
            };
            drop(member.pci_device(lone()).unwrap());
            member.leave().unwrap();
            assert_eq!(container.leaks(), Leaks::default());
        });
        assert!(errors > 0);
        assert_free(lone());
    }
}

/// Opening and closing a device is not failed: Linux 7.3 dies of a lack of memory in what ACPI tells of a PCI interrupt.
#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn whatever_fails_nothing_is_mapped_and_nothing_held() {
    let living = Living::new();
    let round = |container: &Container, memory: Arc<Memory>| -> Result<(), Error> {
        let mapping = container.map_at(page(1), Arc::clone(&memory), Access::ReadWrite)?;
        let other = container.map_at(page(9), memory, Access::Read)?;
        container.info()?;
        mapping.unmap().map_err(Refused::into_error)?;
        container.unmap_all()?;
        drop(other);
        Ok(())
    };
    for kind in KINDS {
        let (container, recorder) = kind();
        let member = group(lone()).join(&container).unwrap();
        let device = member.pci_device(lone()).unwrap();
        let mut errors = 0;
        sweep(Points::Everywhere, |nth| {
            let memory = living.memory(4 * PAGE);
            let result = nth.armed(|| round(&container, memory));
            assert!(result.is_ok() || nth.failed(), "{result:?}");
            errors += usize::from(result.is_err());
            assert_eq!(living.count(), 0, "{result:?}");
            assert_eq!(container.mapped(), Mapped::default(), "{result:?}");
            assert_eq!(recorder.refusals(), [], "{result:?}");
        });
        assert!(errors > 0);
        device.try_close().unwrap();
        member.leave().unwrap();
    }
    assert_free(lone());
}
