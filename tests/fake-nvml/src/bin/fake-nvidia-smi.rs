//! `nvidia-smi --gpu-reset -i GPU` for the fake node that `FAKE_NVML_STATE` names.

fn main() {
    let Some(file) = std::env::var_os("FAKE_NVML_STATE") else {
        eprintln!("FAKE_NVML_STATE names no file");
        std::process::exit(2);
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (message, code) = fake_nvml::nvidia_smi(file.as_ref(), &arguments);
    println!("{message}");
    std::process::exit(code);
}
