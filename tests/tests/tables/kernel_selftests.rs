//! The kernel's own tests, of `docs/kernel-selftests.md`.

use crate::text::{assert_clean, has_test, out_of_order, read, references, rows};

#[test]
fn every_test_of_the_kernels_has_a_row_with_its_counterpart() {
    let path = "docs/kernel-selftests.md";
    let text = read(path).unwrap();
    let functions = KERNELS.iter().flat_map(|(fixture, functions)| {
        let functions = functions.split_whitespace();
        functions.map(move |function| format!("`{fixture}` `{function}`"))
    });
    let expected: Vec<_> = functions.collect();
    assert_eq!(expected.len(), 66 + 8 + 28, "as the kernel has them");

    let of_a_function = |row: &Vec<&str>| row.len() > 3 && row[1].starts_with('`');
    let rows: Vec<_> = rows(&text).filter(of_a_function).collect();
    let names: Vec<_> = rows.iter().map(|row| row[..2].join(" ")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut complaints = out_of_order(&names, &expected);
    // Those of `iommufd_fail_nth.c` have no number of cases.
    for (vfios, sum) in [(false, 246), (true, 141)] {
        let rows = rows
            .iter()
            .filter(|row| is_of_vfio(row[0].trim_matches('`')) == vfios);
        let cases = rows.flat_map(|row| row[2].parse::<u32>());
        if cases.sum::<u32>() != sum {
            let whose = if vfios { "vfio" } else { "iommufd.c" };
            complaints.push(format!(
                "give each function of {whose} as many cases as it has: {sum}"
            ));
        }
    }
    complaints.extend(rows.iter().filter_map(|row| {
        let ours = row
            .iter()
            .skip(2)
            .find(|cell| cell.parse::<u32>().is_err())?;
        match references(ours).next() {
            Some((reference, _)) => not_a_counterpart(reference),
            None => Some(format!(
                "{} {}: name its test, in backticks",
                row[0], row[1]
            )),
        }
    }));
    assert_clean(path, &complaints);
}

/// The functions of the kernel's tests in their order, by fixture.
const KERNELS: &[(&str, &str)] = &[
    (
        "iommufd",
        "simple_close cmd_fail cmd_length cmd_ex_fail global_options",
    ),
    ("change_process", "basic"),
    (
        "iommufd_ioas",
        "ioas_auto_destroy ioas_destroy alloc_hwpt_nested hwpt_attach ioas_area_destroy \
         ioas_area_auto_destroy get_hw_info area unmap_fully_contained_areas area_auto_iova \
         reserved_overflow area_allowed copy_area iova_ranges access_domain_destory access_pin \
         access_pin_unmap access_rw access_rw_unaligned fork_gone fork_present \
         ioas_option_huge_pages ioas_iova_alloc ioas_align_change copy_sweep dmabuf_simple \
         dmabuf_revoke",
    ),
    (
        "iommufd_mock_domain",
        "basic ro_unshare all_aligns all_aligns_copy user_copy replace alloc_hwpt",
    ),
    (
        "iommufd_dirty_tracking",
        "enforce_dirty set_dirty_tracking pasid_set_dirty_tracking device_dirty_capability \
         get_dirty_bitmap get_dirty_bitmap_no_clear",
    ),
    (
        "iommufd",
        "simple_ioctls unmap_cmd map_cmd info_cmd set_iommu_cmd vfio_ioas",
    ),
    (
        "vfio_compat_mock_domain",
        "simple_close option_huge_pages get_info map huge_map",
    ),
    (
        "iommufd_viommu",
        "viommu_auto_destroy viommu_negative_tests viommu_alloc_nested_iopf \
         viommu_alloc_with_data vdevice_alloc vdevice_cache hw_queue vdevice_tombstone",
    ),
    ("iommufd_device_pasid", "pasid_attach"),
    (
        "basic_fail_nth",
        "basic map_domain map_file_domain map_two_domains access_rw access_pin \
         access_pin_domain device",
    ),
    (
        "vfio_iommufd_setup_test",
        "bind get_info_without_bind_fails bind_bad_iommufd_fails repeated_bind_fails \
         attach_detatch_pt attach_invalid_pt_fails",
    ),
    (
        "vfio_dma_mapping_test",
        "dma_map_unmap unmap_range unmap_all overflow",
    ),
    (
        "vfio_dma_mapping_mmio_test",
        "map_full_bar map_partial_bar map_bar_misaligned",
    ),
    (
        "vfio_pci_device_test",
        "config_space_read_write validate_bars enable_trigger_disable reset",
    ),
    (
        "vfio_pci_driver_test",
        "init_remove memcpy_success memcpy_from_unmapped_iova memcpy_to_unmapped_iova send_msi \
         mix_and_match memcpy_storm",
    ),
    ("vfio_pci_device_init_perf_test", "init"),
    (
        "vfio_pci_sriov_uapi_test",
        "init_token_match pf_early_close override_token",
    ),
];

/// Whether a fixture or program is one of the tests of VFIO: those of iommufd have a fixture of VFIO's container.
fn is_of_vfio(name: &str) -> bool {
    name.starts_with("vfio_") && name.ends_with("_test")
}

/// Why a reference is none to a test in `kernel_selftests` or `vfio_selftests`: `fixture::function`, or
/// `fixture::function::*` for one in as many variants as the fixture has.
fn not_a_counterpart(reference: &str) -> Option<String> {
    let (test, every) = match reference.strip_suffix("::*") {
        Some(test) => (test, true),
        None => (reference, false),
    };
    let (fixture, name) = test.split_once("::").unwrap_or((test, ""));
    let folder = match is_of_vfio(fixture) {
        true => "tests/tests/vfio_selftests",
        false => "tests/tests/kernel_selftests",
    };
    let module = read(&format!("{folder}/{fixture}.rs")).unwrap_or_default();
    let found = match every {
        true => is_per_variant(&module, name),
        false => has_test(&module, name),
    };
    (!found).then(|| format!("no test in {folder} is called {reference}: correct the reference"))
}

/// Whether the module of a fixture makes a test of this name for each variant.
fn is_per_variant(fixture: &str, name: &str) -> bool {
    let lists = fixture.split("per_variant! {").skip(1);
    let mut lists = lists.filter_map(|list| list.split_once('}'));
    lists.any(|(list, _)| list.split([' ', ',', '\n']).any(|word| word == name))
}
