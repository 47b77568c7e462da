//! KVM, told of a device before the device is bound, and no longer than it is open.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use iommufd::Iommufd;
use rustix::io::Errno;
use tests::edu::{assert_free, cdev, lone};
use tests::fork::in_child;
use tests::kvm::virtual_machine;
use tests::mtty::Mtty;
use tests::raw;
use vfio::{Cdev, Error, KvmVfio, KvmVfioDevice};

fn kvm() -> (OwnedFd, Arc<KvmVfioDevice>) {
    let machine = virtual_machine();
    let device = KvmVfioDevice::create(&machine).unwrap();
    (machine, Arc::new(device))
}

/// What a device is registered with.
fn told(kvm: &Arc<KvmVfioDevice>) -> Arc<dyn KvmVfio> {
    Arc::<KvmVfioDevice>::clone(kvm)
}

/// Whether KVM has the file: it says so when it is told of it again.
#[track_caller]
fn assert_known(kvm: &KvmVfioDevice, file: impl AsFd, known: bool) {
    let file = file.as_fd();
    match known {
        true => {
            let error = kvm.add(file).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::EXIST.raw_os_error()));
        }
        false => {
            let error = kvm.remove(file).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()));
        }
    }
}

#[test]
#[ignore = "needs a processor that virtualises: cargo lab test"]
fn a_virtual_machine_has_one_device_for_files() {
    let (machine, device) = kvm();
    let error = KvmVfioDevice::create(&machine).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::BUSY), "{error}");
    let file = device.as_fd().try_clone_to_owned().unwrap();
    let taken = KvmVfioDevice::from_fd(file).unwrap();
    let cdev = cdev(lone());
    taken.add(cdev.as_fd()).unwrap();
    assert_known(&device, &cdev, true);
    device.remove(cdev.as_fd()).unwrap();
    // What is KVM's, but no device for files, is none.
    let refused = KvmVfioDevice::from_fd(machine).unwrap_err();
    assert!(matches!(refused.error(), Error::NotKvmVfio), "{refused}");
    let error = KvmVfioDevice::create(&cdev).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::INVAL), "{error}");
}

#[test]
#[ignore = "needs a processor that virtualises: cargo lab test"]
fn kvm_lets_go_of_a_device_when_it_is_closed() {
    let (_machine, kvm) = kvm();
    let cdev = cdev(lone()).with_kvm(told(&kvm)).unwrap();
    assert_known(&kvm, &cdev, true);
    let refused = cdev.with_kvm(told(&kvm)).unwrap_err();
    assert!(matches!(refused.error(), Error::InKvm), "{refused}");
    let cdev = refused.into_value();
    let twin = cdev.as_fd().try_clone_to_owned().unwrap();
    let device = cdev.bind(&Iommufd::open().unwrap()).unwrap();
    assert_known(&kvm, &twin, true);
    // A duplicate would keep it open.
    let clone = device.clone();
    drop(device);
    assert_known(&kvm, &twin, true);
    clone.try_close().unwrap();
    assert_known(&kvm, &twin, false);
    drop(twin);
    assert_free(lone());
}

/// The control of the above.
#[test]
#[ignore = "needs a processor that virtualises: cargo lab test"]
fn a_device_that_is_left_in_kvms_hands_stays_bound() {
    let (machine, kvm) = kvm();
    let device = cdev(lone());
    kvm.add(device.as_fd()).unwrap();
    drop(device.bind(&Iommufd::open().unwrap()).unwrap());
    let refused = cdev(lone()).bind(&Iommufd::open().unwrap()).unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::INVAL), "{refused}");
    drop(refused);
    drop((kvm, machine));
    assert_free(lone());
}

#[test]
#[ignore = "needs a processor that virtualises: cargo lab test"]
fn a_device_that_is_not_bound_leaves_kvm_too() {
    let (_machine, kvm) = kvm();
    let device = cdev(lone()).with_kvm(told(&kvm)).unwrap();
    let twin = device.as_fd().try_clone_to_owned().unwrap();
    drop(device);
    assert_known(&kvm, &twin, false);
    let device = Cdev::from_fd(twin).unwrap().with_kvm(told(&kvm)).unwrap();
    let device = device.without_kvm().unwrap();
    assert_known(&kvm, &device, false);
    // A bind that is refused leaves it with KVM.
    let other = tests::edu::device(lone());
    let device = device.with_kvm(told(&kvm)).unwrap();
    let failed = device.bind(&Iommufd::open().unwrap()).unwrap_err();
    let device = failed.into_cdev().unwrap();
    assert_known(&kvm, &device, true);
    other.try_close().unwrap();
    device.bind(&Iommufd::open().unwrap()).unwrap();
    assert_free(lone());
}

#[test]
#[ignore = "needs a processor that virtualises: cargo lab test"]
fn what_is_bound_already_is_too_late_for_kvm() {
    let (_machine, kvm) = kvm();
    let device = cdev(lone());
    let twin = device.as_fd().try_clone_to_owned().unwrap();
    let iommufd = Iommufd::open().unwrap();
    raw::vfio_bind(&twin, &iommufd).unwrap();
    let refused = device.with_kvm(told(&kvm)).unwrap_err();
    assert!(matches!(refused.error(), Error::TooLateForKvm), "{refused}");
    assert_known(&kvm, &twin, false);
    drop((refused, twin));
    assert_free(lone());
}

#[test]
#[ignore = "needs a processor that virtualises: cargo lab test"]
fn a_mediated_device_is_for_a_virtual_machine_as_well() {
    let mtty = Mtty::new();
    let (_machine, kvm) = kvm();
    let device = mtty.cdev().with_kvm(told(&kvm)).unwrap();
    let device = device.bind_mediated(&Iommufd::open().unwrap()).unwrap();
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs a processor that virtualises: cargo lab test"]
fn the_virtual_machine_may_go_first() {
    let (machine, kvm) = kvm();
    let device = cdev(lone()).with_kvm(told(&kvm)).unwrap();
    let device = device.bind(&Iommufd::open().unwrap()).unwrap();
    drop((machine, kvm));
    assert!(device.info().unwrap().regions > 0);
    device.try_close().unwrap();
    assert_free(lone());
}

#[test]
#[ignore = "needs a processor that virtualises: cargo lab test"]
fn a_child_of_a_fork_leaves_its_parents_virtual_machine_alone() {
    let (_machine, kvm) = kvm();
    let mut unbound = Some(cdev(lone()).with_kvm(told(&kvm)).unwrap());
    in_child(|| drop(unbound.take()));
    let unbound = unbound.unwrap();
    assert_known(&kvm, &unbound, true);
    let mut bound = Some(unbound.bind(&Iommufd::open().unwrap()).unwrap());
    in_child(|| drop(bound.take()));
    bound.unwrap().try_close().unwrap();
    assert_free(lone());
}
