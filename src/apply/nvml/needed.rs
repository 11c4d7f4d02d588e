//! The functions of the library that every change may need: for itself or for its way back.

use nvml_wrapper_sys::bindings::NvmlLib;

/// Those that the library does not have. Creating at the place that the driver chooses is no stand-in
/// for creating at a given one: what is destroyed would not come back where it was.
pub(super) fn missing(lib: &NvmlLib) -> Vec<&'static str> {
    macro_rules! missing {
        ($($name:ident),* $(,)?) => {
            [$((stringify!($name), lib.$name.is_err())),*]
        };
    }
    let functions = missing![
        nvmlDeviceSetMigMode,
        nvmlDeviceCreateGpuInstanceWithPlacement,
        nvmlDeviceGetGpuInstances,
        nvmlGpuInstanceGetInfo,
        nvmlGpuInstanceDestroy,
        nvmlGpuInstanceGetComputeInstanceProfileInfo,
        nvmlGpuInstanceGetComputeInstances,
        nvmlGpuInstanceCreateComputeInstance,
        nvmlComputeInstanceDestroy,
    ];
    functions.into_iter().filter(|(_, missing)| *missing).map(|(name, _)| name).collect()
}
