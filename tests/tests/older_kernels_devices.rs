//! What a kernel lacks of VFIO's interface, asked for on any kernel: it is there, or the error says what is not.

use iommufd::Iommufd;
use tests::edu::{assert_free, cdev, device, igb};
use tests::kernel::{linux, running};
use vfio::{Error, Feature, FeatureError, RegionIndex, VfToken};

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_bar_is_exported_or_the_kernel_does_not_know_how() {
    let has_it = running() >= linux(6, 19);
    let device = device(igb());
    assert_eq!(device.has_feature(Feature::DmaBuf).unwrap(), has_it);
    match device.export_bar(RegionIndex::BAR0, 0..0x1000) {
        Ok(_) => assert!(has_it),
        Err(error) => {
            assert!(!has_it, "{error}");
            let Error::Feature(FeatureError::NotThere { feature, .. }) = error else {
                panic!("{error}");
            };
            assert_eq!(feature, Feature::DmaBuf);
        }
    }
    drop(device);
    assert_free(igb());
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn a_token_is_taken_or_the_error_says_since_when_it_is() {
    let (running, since) = (running(), linux(6, 17));
    let token: VfToken = "14d63f20-8445-11ea-8900-1f9ce7d5650d".parse().unwrap();
    let iommufd = Iommufd::open().unwrap();
    match cdev(igb()).bind_with_token(&iommufd, token) {
        Ok(_) => assert!(running >= since),
        Err(refused) => {
            assert!(running < since, "{}", refused.error());
            let Error::NoVfTokens { since: said, .. } = refused.error() else {
                panic!("{}", refused.error());
            };
            assert_eq!(*said, since);
        }
    }
    assert_free(igb());
}
