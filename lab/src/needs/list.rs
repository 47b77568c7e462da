//! The tests that need more than the oldest kernel of the lab, and what they need.
//!
//! `refused` is what may fail in any way: where the SDK's error for what is missing does not come through, because the
//! test itself asks the kernel, or only finds that something is not as it expects.

use super::{Need, all, some};
use crate::features as f;

/// Where this is, for a person.
pub(super) const FILE: &str = file!();

/// The list, by programs.
pub(super) static NEEDS: &[Need] = &[
    some(
        "change_process",
        &["all_that_is_in_memfds_can_move"],
        &f::CHANGE_OF_PROCESS,
    )
    .refused(),
    some(
        "change_process",
        &[
            "what_cannot_move_is_named_wherever_it_is_mapped",
            "a_copy_can_move_if_its_source_can",
            "what_another_handle_has_mapped_is_in_the_way_and_cannot_be_named",
            "a_process_that_takes_over_has_all_pinned_pages",
            "a_process_that_may_not_lock_so_much_takes_nothing_over",
            "while_something_is_being_mapped_the_kernel_is_busy",
            "a_kernel_that_is_out_of_memory_for_a_moment_makes_up_for_it",
            "an_address_space_can_be_dropped_meanwhile",
        ],
        &f::CHANGE_OF_PROCESS,
    ),
    some("change_process", &["a_dma_buf_cannot_move"], &f::DMA_BUFS),
    some(
        "dirty_unmap",
        &["what_the_kernel_does_not_unmap_stays_dirty"],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    some(
        "dma",
        &["a_foreign_memfd_is_read_and_written_by_the_device"],
        &f::FILES,
    ),
    some(
        "drop_order",
        &["a_fault_queue_can_be_dropped_in_every_order_with_all_that_holds_it"],
        &f::PAGE_REQUESTS,
    ),
    some(
        "false_answers",
        &[
            "memory_that_the_kernel_keeps_stays_though_it_was_not_found_at_first",
            "unmapping_all_keeps_what_the_kernel_keeps_though_it_was_not_found_at_first",
        ],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    some(
        "fault_queue",
        &[
            "a_device_asks_and_is_answered",
            "groups_come_in_their_order_and_are_answered_in_any",
            "what_does_not_fit_in_one_read_stays_and_keeps_the_file_readable",
            "a_wait_ends_when_the_time_is_over",
            "a_request_wakes_who_waits",
            "a_dropped_group_is_answered_and_a_forgotten_one_is_not",
            "an_answer_after_the_detach_comes_too_late",
            "an_answer_after_a_replace_comes_too_late_and_what_waits_is_not_delivered",
            "a_dropped_group_that_is_late_is_no_leak",
            "a_dead_group_never_answers_the_one_that_has_its_cookie",
            "a_group_outlives_everything_but_its_queue",
            "a_device_is_not_taken_for_the_next_one_of_the_same_id",
            "only_the_requests_of_a_detached_device_are_answered_by_the_kernel",
            "a_queue_of_another_context_is_refused_before_the_ioctl",
            "a_queue_is_closed_when_nobody_holds_it",
            "an_answer_that_a_drop_could_not_give_is_counted_and_reported",
            "an_answer_that_is_refused_gives_the_group_back",
            "in_a_child_of_a_fork_nothing_is_read_and_nothing_answered",
            "a_table_with_a_queue_that_fails_does_not_hold_it",
            "a_read_in_which_the_kernel_fails_loses_nothing",
            "everything_from_the_queue_to_the_last_drop",
            "groups_of_one_request_take_no_memory",
            "each_group_goes_to_one_of_many_readers",
            "answers_race_with_detaches_and_nobody_answers_for_another",
            "devices_come_and_go_and_each_request_names_its_own",
        ],
        &f::PAGE_REQUESTS,
    ),
    some(
        "fault_queue",
        &[
            "one_queue_serves_several_tables_and_devices",
            "a_request_with_a_pasid_comes_to_the_queue_of_the_pasids_table",
            "an_attach_with_a_queue_that_fails_leaves_the_device_unattached",
        ],
        &f::PASIDS,
    ),
    some(
        "fault_queue",
        &["a_guests_table_takes_requests_with_any_pasid"],
        &f::VIRTUAL_IOMMUS,
    ),
    some(
        "fork",
        &["in_a_child_every_call_is_refused_and_no_ioctl_is_made"],
        &f::FILES,
    ),
    some(
        "hw_info",
        &["a_device_with_pasids_says_how_many"],
        &f::PASIDS,
    ),
    some(
        "hw_info",
        &[
            "a_type_that_only_its_number_names_is_asked_for",
            "a_type_that_the_hardware_has_not_got_is_not_offered",
            "a_question_that_fails_is_no_answer",
        ],
        &f::HARDWARE_QUEUES,
    ),
    some(
        "hw_info",
        &["hardware_of_an_unknown_type_is_described_by_its_bytes"],
        &f::ATS,
    ),
    all("hw_queue", &f::VIRTUAL_IOMMUS),
    some(
        "hwpt",
        &["memory_under_a_page_table_that_stays_is_kept_for_good"],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    all("invalidate", &f::VIRTUAL_IOMMUS),
    some(
        "ioas_copy",
        &["a_file_that_devices_write_is_not_sealed_as_long_as_there_is_a_copy"],
        &f::FILES,
    ),
    some(
        "ioas_copy",
        &["a_dma_buf_is_copied_and_what_is_copied_when_it_is_revoked_leads_nowhere"],
        &f::DMA_BUFS,
    ),
    some(
        "ioas_copy",
        &["what_a_hardware_queue_uses_is_copied_and_the_copy_is_free_of_it"],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    some(
        "ioas_unmap",
        &[
            "an_unmap_that_the_kernel_refuses_gives_the_mapping_back_and_keeps_the_memory",
            "p15_a_refused_unmap_in_a_drop_is_counted_and_told_and_the_memory_stays",
            "unmap_all_takes_what_it_can_and_says_what_stayed",
        ],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    some(
        "kernel_selftests",
        &[
            "change_process::*",
            "iommufd_mock_domain::*::one_domain_file",
            "iommufd_mock_domain::*::one_domain_file_hugepage",
            "fail_nth::map_file_domain",
        ],
        &f::FILES,
    )
    .refused(),
    some(
        "kernel_selftests",
        &[
            "iommufd_ioas::dmabuf_simple::*",
            "iommufd_ioas::dmabuf_revoke::*",
        ],
        &f::DMA_BUFS,
    ),
    some(
        "kernel_selftests",
        &[
            "iommufd_device_pasid::*",
            "iommufd_dirty_tracking::pasid_set_dirty_tracking::*",
        ],
        &f::PASIDS,
    ),
    some(
        "kernel_selftests",
        &["iommufd_viommu::*::mock_viommu", "fail_nth::device"],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    // It goes through all ioctls that there are.
    some(
        "kernel_selftests",
        &["iommufd::cmd_length"],
        &f::PHYSICAL_ADDRESSES,
    )
    .refused(),
    some(
        "ledger",
        &[
            "after_a_failed_unmap_and_a_dropped_guard_the_memory_is_alive",
            "memory_of_an_address_space_that_cannot_be_destroyed_stays_for_good",
            "a_buffer_whose_unmap_was_refused_is_not_reclaimed",
        ],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    some(
        "locked_memory",
        &["a_map_by_file_over_the_limit_says_so_too"],
        &f::FILES,
    )
    .refused(),
    some(
        "map_file",
        &[
            "a_file_of_somebody_elses_is_mapped_and_kept_by_the_kernel",
            "a_range_past_the_end_of_the_file_is_found_out_when_pages_are_pinned",
            "a_file_of_another_kind_is_refused",
            "addresses_of_a_file_mapping_are_refused_as_those_of_any_other",
            "a_device_writes_no_file_that_the_process_could_not_write",
        ],
        &f::FILES,
    ),
    some(
        "map_file",
        &[
            "a_dma_buf_is_mapped_unless_it_is_revoked",
            "a_dma_buf_that_is_too_short_or_of_another_driver_is_refused",
        ],
        &f::DMA_BUFS,
    ),
    some(
        "nesting",
        &[
            "handles_are_equal_if_they_are_of_one_object",
            "a_guest_behind_a_virtual_iommu",
            "objects_of_two_contexts_are_not_mixed",
            "a_device_is_moved_between_tables_of_all_kinds",
            "a_replace_that_the_kernel_refuses_leaves_everything_as_it_was",
            "a_replace_that_fails_anywhere_leaves_everything_as_it_was",
            "what_is_in_use_is_given_back_and_the_kernel_is_not_asked",
            "what_the_kernel_keeps_is_given_back_as_it_was",
            "a_drop_that_the_kernel_refuses_is_told_and_what_it_needs_is_kept_in_the_kernel",
        ],
        &f::VIRTUAL_IOMMUS,
    ),
    some("nesting", &["a_table_can_be_for_pasids"], &f::PASIDS),
    all("nesting_drop_order", &f::VIRTUAL_IOMMUS),
    all("nesting_faults", &f::VIRTUAL_IOMMUS),
    all("noiommu", &f::PHYSICAL_ADDRESSES).refused(),
    all("noiommu_device", &f::PHYSICAL_ADDRESSES).refused(),
    some(
        "observer",
        &[
            "memory_that_goes_with_its_address_space_can_use_the_context",
            "an_observer_can_try_again_what_a_drop_was_refused",
        ],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    all("once_on_mock", &f::VIRTUAL_IOMMUS).refused(),
    some(
        "panics",
        &["memory_that_the_kernel_keeps_stays_though_the_observer_panics"],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    all("pasid", &f::PASIDS),
    all("smmuv3_events", &f::VIRTUAL_IOMMUS).refused(),
    all("smmuv3_invalidation", &f::VIRTUAL_IOMMUS).refused(),
    some(
        "smmuv3_lab",
        &[
            "the_kernel_makes_a_virtual_smmu_on_tables_that_others_nest_in",
            "an_smmuv3_is_described_to_whoever_asks_for_it",
        ],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    all("smmuv3_lifetimes", &f::VIRTUAL_IOMMUS).refused(),
    some(
        "smmuv3_msi",
        &[
            "an_interrupt_goes_through_stage_1_where_the_guest_maps_the_window",
            "an_interrupt_is_a_fault_where_the_guest_does_not",
            "what_is_mapped_over_the_window_gets_the_interrupts_data",
            "without_stage_1_an_interrupt_needs_nothing_of_the_guest",
            "interrupts_that_are_enabled_follow_the_device_from_table_to_table",
            "the_window_is_not_for_memory_while_a_device_is_there",
            "an_interrupt_goes_the_old_way_until_the_guest_invalidates",
        ],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    all("smmuv3_once", &f::VIRTUAL_IOMMUS).refused(),
    all("smmuv3_refusals", &f::VIRTUAL_IOMMUS).refused(),
    all("smmuv3_relay", &f::VIRTUAL_IOMMUS).refused(),
    all("smmuv3_relay_devices", &f::VIRTUAL_IOMMUS).refused(),
    all("smmuv3_relay_interrupts", &f::VIRTUAL_IOMMUS).refused(),
    all("smmuv3_translation", &f::VIRTUAL_IOMMUS).refused(),
    some(
        "smmuv3_unplug",
        &[
            "a_device_behind_a_guests_tables_works_until_it_is_given_up_in_order",
            "each_thing_that_holds_a_device_is_waited_for",
            "what_is_plugged_in_again_has_its_number_and_its_tables_again",
        ],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    some(
        "stream",
        &[
            "page_requests_come_as_a_stream",
            "a_request_wakes_the_task_that_waits_for_it",
            "a_stream_holds_its_queue_and_lets_go_of_its_file_first",
            "in_a_child_of_a_fork_a_stream_ends",
        ],
        &f::PAGE_REQUESTS,
    ),
    some(
        "stream",
        &["events_of_a_virtual_iommu_come_as_a_stream"],
        &f::VIRTUAL_IOMMUS,
    ),
    all("vdevice", &f::VIRTUAL_IOMMUS),
    all("vevent", &f::VIRTUAL_IOMMUS),
    all("vf_token", &f::VF_TOKENS),
    all("vfio_dmabuf", &f::DMA_BUFS),
    all("viommu", &f::VIRTUAL_IOMMUS),
    all("viommu_events", &f::VIRTUAL_IOMMUS),
    some(
        "vm_memory",
        &[
            "memory_in_a_file_is_mapped_by_file_from_where_it_begins_in_it",
            "memory_of_huge_pages_in_a_file_is_mapped_by_file",
        ],
        &f::FILES,
    )
    .refused(),
    some(
        "vm_memory_dirty",
        &["a_region_that_cannot_be_removed_loses_no_bit"],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    some(
        "vm_memory_rollback",
        &[
            "a_block_that_cannot_be_unmapped_again_is_named_and_in_the_books",
            "a_region_of_which_one_block_cannot_be_unmapped_stays_whole",
            "a_block_that_cannot_be_mapped_again_is_named_and_in_the_books",
            "unmapping_all_tells_what_stays_and_gives_it_back",
            "what_a_drop_cannot_unmap_is_counted_and_kept",
        ],
        &f::VIRTUAL_IOMMUS,
    )
    .refused(),
    some(
        "vtd_lab",
        &[
            "vt_d_is_described_to_whoever_asks_for_it",
            "over_memory_that_is_mapped_to_be_read_only_a_parent_is_refused_before_the_kernel_is_asked",
        ],
        &f::HARDWARE_QUEUES,
    ),
    some(
        "vtd_lab",
        &["what_blocks_a_device_lets_nothing_through_but_its_interrupts"],
        &f::PASIDS,
    ),
    all("vtd_relay", &f::PASIDS),
    all("vtd_unit", &f::PASIDS),
];
