//! Queues in guest memory that the hardware itself reads.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use iommufd::{
    Access, DmaBuffer, DmaSlice, Error, HwQueue, Iova, IovaRange, Leaks, Mapping, SharedBuffer,
    Viommu,
};
use rustix::io::Errno;
use std::sync::Arc;
use tests::at::{PAGE, page, pages, range};
use tests::fork::in_child;
use tests::guest::Guest;
use tests::memory::Living;
use tests::mock::{self, nesting::MockViommu};
use tests::refused;

type Queue = HwQueue<MockViommu>;

/// So many pages of a guest's, from its first on.
fn memory(guest: &Guest, count: usize) -> (Arc<SharedBuffer>, Mapping) {
    let memory = DmaBuffer::new(count * PAGE).unwrap().share();
    let mapping = guest.ioas.map_at(page(0), &memory, Access::ReadWrite);
    (memory, mapping.unwrap())
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn hardware_queues_go_in_the_order_against_which_they_came() {
    let guest = Guest::new();
    let Guest { viommu, .. } = &guest;
    let (_memory, mapping) = memory(&guest, 2);
    let first = Queue::first(viommu, pages(0, 1)).unwrap();
    let second = Queue::after(&first, pages(1, 1)).unwrap();
    assert_eq!((first.number(), second.number()), (0, 1));
    assert_eq!((first.range(), second.range()), (pages(0, 1), pages(1, 1)));
    // The mock has two.
    refused(Queue::after(&second, pages(1, 1)), Errno::INVAL);
    refused(Queue::first(viommu, pages(1, 1)), Errno::EXIST);
    refused(Queue::after(&first, pages(1, 1)), Errno::EXIST);
    guest.recorder.clear();
    let refusal = first.try_destroy().unwrap_err();
    assert!(matches!(
        refusal.error(),
        Error::InUse {
            object: "hardware queue",
            holders: 1,
            ..
        }
    ));
    assert_eq!(guest.recorder.count(), 0);
    let mapping = mapping.unmap().unwrap_err().into_value();
    // The second holds the first.
    drop(refusal.into_value());
    refused(Queue::first(viommu, pages(0, 1)), Errno::EXIST);
    let mapping = mapping.unmap().unwrap_err().into_value();
    second.try_destroy().unwrap();
    let again = Queue::first(viommu, pages(1, 1)).unwrap();
    again.try_destroy().unwrap();
    mapping.unmap().unwrap();
    assert_eq!(guest.recorder.refusals(), []);
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_lies_in_memory_that_is_mapped_readable_and_in_one_piece() {
    let guest = Guest::new();
    let Guest { viommu, ioas, .. } = &guest;
    refused(Queue::first(viommu, pages(0, 1)), Errno::NOENT);
    let (memory, mapping) = memory(&guest, 1);
    refused(Queue::first(viommu, pages(0, 2)), Errno::NOENT);
    refused(Queue::first(viommu, pages(1, 1)), Errno::NOENT);
    // The same page twice is not one piece.
    let twice = ioas.map_at(page(1), &memory, Access::ReadWrite).unwrap();
    refused(Queue::first(viommu, pages(0, 2)), Errno::FAULT);
    let written = ioas.map_at(page(2), &memory, Access::Write).unwrap();
    refused(Queue::first(viommu, pages(2, 1)), Errno::PERM);
    // What was refused leaves nothing in the way.
    twice.unmap().unwrap();
    written.unmap().unwrap();
    mapping.unmap().unwrap();
    let read = ioas.map_at(page(0), &memory, Access::Read).unwrap();
    let queue = Queue::first(viommu, pages(0, 1)).unwrap();
    refused(read.unmap(), Errno::BUSY);
    queue.try_destroy().unwrap();
    assert_eq!(guest.iommufd.leaks().objects, 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn beside_parts_of_pages_there_is_no_queue() {
    let guest = Guest::new();
    let (memory, mapping) = memory(&guest, 1);
    // The mock's smallest page is less than one of the CPU's.
    let half = DmaSlice::new(&memory, ..mock::PAGE as usize).unwrap();
    let half = guest.ioas.map_at(page(3), half, Access::Read).unwrap();
    let refusal = Queue::first(&guest.viommu, pages(0, 1)).unwrap_err();
    assert_eq!(refusal.errno(), Some(Errno::ADDRINUSE));
    assert!(refusal.to_string().contains("no whole pages"), "{refusal}");
    half.unmap().unwrap();
    let queue = Queue::first(&guest.viommu, pages(0, 1)).unwrap();
    queue.try_destroy().unwrap();
    mapping.unmap().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_may_begin_and_end_anywhere_in_a_page() {
    let guest = Guest::new();
    let (_memory, mapping) = memory(&guest, 1);
    let in_page = |start: u64, len: u64| {
        let start = page(0).checked_add(start).unwrap();
        IovaRange::with_len(start, len).unwrap()
    };
    for queue in [
        in_page(0, 1),
        in_page(64, 512),
        in_page(4095, 1),
        in_page(0, 4096),
    ] {
        let queue = Queue::first(&guest.viommu, queue).unwrap();
        queue.try_destroy().unwrap();
    }
    refused(Queue::first(&guest.viommu, in_page(4095, 2)), Errno::NOENT);
    // A length that cannot be rounded up to whole pages; and one that cannot even be said.
    refused(
        Queue::first(&guest.viommu, range(1, u64::MAX)),
        Errno::RANGE,
    );
    refused(
        Queue::first(&guest.viommu, range(0, u64::MAX)),
        Errno::RANGE,
    );
    mapping.unmap().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_a_queue_lies_in_stays_when_everything_is_unmapped() {
    let guest = Guest::new();
    let Guest { ioas, viommu, .. } = &guest;
    let living = Living::new();
    let guards: Vec<_> = (0..3)
        .map(|n| {
            let memory = living.memory(PAGE);
            ioas.map_at(page(n), memory, Access::ReadWrite).unwrap()
        })
        .collect();
    let queue = Queue::first(viommu, pages(1, 1)).unwrap();
    let stays = |error: Error, unmapped: u64| {
        let Error::PartlyUnmapped {
            unmapped: bytes,
            remaining: 1,
            first,
            reason,
            ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((bytes, first), (unmapped, page(1)));
        assert_eq!(reason.errno, Errno::BUSY);
        assert!(reason.cause.contains("hardware queue"), "{reason}");
    };
    stays(ioas.unmap_all().unwrap_err(), 2 * PAGE as u64);
    assert_eq!(living.count(), 1, "what is unmapped is let go of");
    stays(ioas.unmap_range(pages(1, 1)).unwrap_err(), 0);
    stays(ioas.unmap_all().unwrap_err(), 0);
    assert_eq!(ioas.mapped(), tests::at::mapped(1, PAGE as u64));
    drop(queue);
    assert_eq!(ioas.unmap_all().unwrap(), PAGE as u64);
    assert_eq!(living.count(), 0);
    drop(guards);
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}

/// A mapping that is dropped too early cannot be undone then. Its memory is not lost: it is let go of with the address
/// space.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_of_a_queue_outlives_its_mapping() {
    let guest = Guest::new();
    let iommufd = guest.iommufd.clone();
    let living = Living::new();
    let memory = living.memory(PAGE);
    let mapping = guest.ioas.map_at(page(0), memory, Access::ReadWrite);
    let queue = Queue::first(&guest.viommu, pages(0, 1)).unwrap();
    guest.recorder.clear();
    drop(mapping.unwrap());
    assert_eq!(guest.recorder.refusals(), [("mapping", Some(Errno::BUSY))]);
    assert_eq!(living.count(), 1);
    drop(guest);
    assert_eq!(living.count(), 1, "the queue is still there");
    drop(queue);
    assert_eq!(living.count(), 0);
    let leaks = iommufd.leaks();
    assert_eq!((leaks.objects, leaks.mappings, leaks.memories), (0, 1, 0));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_keeps_its_virtual_iommu() {
    let guest = Guest::new();
    let (_memory, mapping) = memory(&guest, 2);
    let first = Queue::first(&guest.viommu, pages(0, 1)).unwrap();
    let second = Queue::after(&first, pages(1, 1)).unwrap();
    let other = Viommu::<MockViommu>::new(&guest.parent, &guest.device).unwrap();
    // Each virtual IOMMU counts its own.
    let elsewhere = Queue::first(&other, pages(0, 1)).unwrap();
    let refusal = other.try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    drop(refusal.into_value());
    elsewhere.try_destroy().unwrap();
    let recorder = guest.recorder;
    recorder.clear();
    drop((guest.viommu, guest.parent, first));
    assert_eq!(recorder.calls(), [""; 0], "the second holds them all");
    drop(second);
    assert_eq!(recorder.calls(), ["IOMMU_DESTROY"; 4]);
    assert!(recorder.answers().iter().all(|(_, answer)| answer.is_ok()));
    mapping.unmap().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_of_a_fork_the_queue_is_the_parents() {
    let guest = Guest::new();
    let (_memory, mapping) = memory(&guest, 2);
    let queue = Queue::first(&guest.viommu, pages(0, 1)).unwrap();
    guest.recorder.clear();
    let mut inherited = Some(queue);
    in_child(|| {
        let queue = inherited.take().unwrap();
        let forked = |error: &Error| assert!(matches!(error, Error::Forked), "{error}");
        forked(&Queue::first(&guest.viommu, pages(1, 1)).unwrap_err());
        forked(&Queue::after(&queue, pages(1, 1)).unwrap_err());
        forked(queue.try_destroy().unwrap_err().error());
        assert_eq!(guest.recorder.count(), 0);
    });
    let mapping = mapping.unmap().unwrap_err().into_value();
    inherited.unwrap().try_destroy().unwrap();
    mapping.unmap().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_where_nothing_can_be_translated_is_refused() {
    let guest = Guest::new();
    let nowhere = IovaRange::with_len(Iova::new(0), 4096).unwrap();
    refused(Queue::first(&guest.viommu, nowhere), Errno::NOENT);
}
