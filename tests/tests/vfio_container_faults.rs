//! Groups and containers while the kernel fails.

use iommufd::{Access, Leaks};
use tests::at::{PAGE, page};
use tests::edu::{assert_free, lone};
use tests::faults::{Points, sweep};
use tests::groups::{KINDS, group};
use tests::memory::Living;
use vfio::{Error, MemberGroup, Refused};

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

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn whatever_fails_nothing_is_left() {
    let living = Living::new();
    let round = |member: MemberGroup| -> Result<(), Error> {
        let device = member.pci_device(lone())?;
        let container = member.container().clone();
        let memory = living.memory(4 * PAGE);
        let mapping = container.map_at(page(1), memory, Access::ReadWrite)?;
        container.info()?;
        device.info()?;
        mapping.unmap().map_err(Refused::into_error)?;
        device.try_close().map_err(Refused::into_error)?;
        member.leave().map_err(Refused::into_error)?;
        Ok(())
    };
    for kind in KINDS {
        let mut errors = 0;
        sweep(Points::Everywhere, |nth| {
            let (container, recorder) = kind();
            let member = group(lone()).join(&container).unwrap();
            let result = nth.armed(|| round(member));
            assert!(result.is_ok() || nth.failed(), "{result:?}");
            errors += usize::from(result.is_err());
            assert_eq!(living.count(), 0, "{result:?}");
            assert_eq!(recorder.refusals(), [], "{result:?}");
        });
        assert!(errors > 0);
        assert_free(lone());
    }
}
