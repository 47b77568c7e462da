//! Every handle can be kept in a struct and sent anywhere. Needs no kernel.

/// Compiles only for what can be moved to, shared with and kept by any thread.
fn can_be_kept_anywhere<T: Send + Sync + 'static>() -> &'static str {
    std::any::type_name::<T>()
}

#[test]
fn every_handle_is_send_sync_and_static() {
    let handles = [
        can_be_kept_anywhere::<iommufd::Iommufd>(),
        can_be_kept_anywhere::<iommufd::IommufdBuilder>(),
        can_be_kept_anywhere::<iommufd::Ioas>(),
        can_be_kept_anywhere::<iommufd::IovaRanges>(),
        can_be_kept_anywhere::<iommufd::Mapping>(),
        can_be_kept_anywhere::<iommufd::HwPt>(),
        can_be_kept_anywhere::<iommufd::Device>(),
        can_be_kept_anywhere::<iommufd::DeviceKey>(),
        can_be_kept_anywhere::<iommufd::Attachment>(),
        can_be_kept_anywhere::<iommufd::Target>(),
        can_be_kept_anywhere::<iommufd::Group>(),
        can_be_kept_anywhere::<iommufd::DmaBuffer>(),
        can_be_kept_anywhere::<iommufd::SharedBuffer>(),
        can_be_kept_anywhere::<iommufd::DmaSlice>(),
        can_be_kept_anywhere::<iommufd::RawMemory>(),
        can_be_kept_anywhere::<iommufd::HwInfo>(),
        can_be_kept_anywhere::<iommufd::FaultQueue>(),
        can_be_kept_anywhere::<iommufd::ClosedQueue>(),
        can_be_kept_anywhere::<iommufd::PageRequestGroup>(),
        can_be_kept_anywhere::<iommufd::EventStream<iommufd::FaultQueue>>(),
        can_be_kept_anywhere::<iommufd::PageRequest>(),
        can_be_kept_anywhere::<iommufd::Pasid>(),
        can_be_kept_anywhere::<iommufd::Error>(),
        can_be_kept_anywhere::<iommufd::Refused<iommufd::Mapping>>(),
        can_be_kept_anywhere::<iommufd::Refused<iommufd::Attachment>>(),
        can_be_kept_anywhere::<iommufd::volatile::VolatileRegion>(),
    ];
    assert!(handles.iter().all(|name| name.starts_with("iommufd::")));
}

#[test]
fn every_handle_that_is_shared_can_be_cloned() {
    fn cloned<T: Clone>() -> &'static str {
        std::any::type_name::<T>()
    }
    let shared = [
        cloned::<iommufd::Iommufd>(),
        cloned::<iommufd::Ioas>(),
        cloned::<iommufd::HwPt>(),
        cloned::<iommufd::Device>(),
        cloned::<iommufd::Group>(),
        cloned::<iommufd::Target>(),
        cloned::<iommufd::FaultQueue>(),
        cloned::<iommufd::DmaSlice>(),
    ];
    assert!(shared.iter().all(|name| name.starts_with("iommufd::")));
}
