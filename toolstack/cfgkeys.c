// SPDX-License-Identifier: GPL-2.0-or-later
/* Every key of xl.cfg(5) and pvl.cfg(5), and who acts on it.  Sorted. */
#include "cfg.h"

#define X CFG_XEN
#define L CFG_LOCAL
const struct cfg_key cfg_keys[] = {
	{ "acpi", X }, { "acpi_firmware", X }, { "acpi_laptop_slate", X }, { "acpi_s3", X }, { "acpi_s4", X },
	{ "altp2m", 0 }, { "altp2mhvm", 0 }, { "apic", X }, { "bios", X }, { "bios_path_override", X },
	{ "boot", X }, { "bootloader", X }, { "bootloader_args", X }, { "bootloader_restrict", 0 },
	{ "bootloader_user", 0 }, { "budget", 0 }, { "builder", X }, { "cap", X }, { "channel", X },
	{ "cmdline", X }, { "cpu_weight", X }, { "cpuid", X }, { "cpus", X }, { "cpus_soft", X },
	{ "device_model_args", X }, { "device_model_args_hvm", X }, { "device_model_args_pv", X },
	{ "device_model_override", X }, { "device_model_stubdomain_override", X },
	{ "device_model_stubdomain_seclabel", 0 }, { "device_model_user", X }, { "device_model_version", X },
	{ "device_tree", 0 }, { "disk", X | L }, { "dm_restrict", X }, { "driver_domain", X }, { "dtdev", 0 },
	{ "e820_host", X }, { "extra", X }, { "firmware", X }, { "firmware_override", X },
	{ "gfx_passthru", 0 }, { "gic_version", 0 }, { "guest", L }, { "hap", X }, { "hdtype", X },
	{ "hpet", X }, { "hvm_loader", 0 }, { "init_seclabel", 0 }, { "iomem", 0 }, { "ioports", 0 },
	{ "irqs", 0 }, { "kernel", X }, { "keymap", X }, { "localtime", X }, { "max_event_channels", X },
	{ "max_grant_frames", X }, { "max_grant_version", X }, { "max_maptrack_frames", X }, { "maxmem", X },
	{ "maxvcpus", X }, { "mca_caps", 0 }, { "memory", X | L }, { "mmio_hole", X }, { "ms_vm_genid", 0 },
	{ "msr_relaxed", X }, { "name", X | L }, { "nestedhvm", X }, { "nographic", X }, { "nomigrate", X },
	{ "nx", X }, { "on_crash", X | L }, { "on_poweroff", X | L }, { "on_reboot", X | L },
	{ "on_soft_reset", X }, { "on_watchdog", X }, { "oos", X }, { "opengl", X }, { "p9", 0 }, { "pae", X },
	{ "passthrough", X }, { "pci", X }, { "pci_max", X }, { "pci_msitranslate", X }, { "pci_permissive", X },
	{ "pci_power_mgmt", X }, { "pci_seize", X }, { "period", 0 }, { "pool", X }, { "pvcalls", 0 },
	{ "pvconsole", X },
	{ "pvh", 0 }, { "pvshim", X }, { "pvshim_cmdline", X }, { "pvshim_extra", X }, { "pvshim_path", X },
	{ "ramdisk", X }, { "rdm", 0 }, { "rdm_mem_boundary", 0 }, { "root", X }, { "rtc_timeoffset", X },
	{ "sdl", X }, { "seclabel", 0 }, { "serial", X }, { "shadow_memory", X }, { "smbios_firmware", X },
	{ "soundhw", X }, { "spice", 0 }, { "spice_clipboard_sharing", 0 }, { "spice_image_compression", 0 },
	{ "spice_streaming_video", 0 }, { "spiceagent_mouse", 0 }, { "spicedisable_ticketing", 0 },
	{ "spicehost", 0 }, { "spicepasswd", 0 }, { "spiceport", 0 }, { "spicetls_port", 0 },
	{ "spiceusbredirection", 0 }, { "spicevdagent", 0 }, { "stdvga", X }, { "stubdomain_cmdline", X },
	{ "stubdomain_kernel", X }, { "stubdomain_memory", X }, { "stubdomain_ramdisk", X }, { "tee", 0 },
	{ "timeoffset", X }, { "timer_mode", X }, { "tsc_mode", X }, { "type", X }, { "usb", X },
	{ "usbctrl", X }, { "usbdev", X }, { "usbdevice", X }, { "usbversion", X }, { "uuid", X | L },
	{ "vcpus", X | L }, { "vdispl", 0 }, { "vendor_device", 0 }, { "vfb", X }, { "vga", X },
	{ "videoram", X }, { "vif", X | L }, { "viridian", X }, { "vkb", 0 }, { "vkb_device", X },
	{ "vmtrace_buf_kb", X }, { "vnc", X }, { "vncconsole", 0 }, { "vncdisplay", X }, { "vnclisten", X },
	{ "vncpasswd", X }, { "vncunused", X }, { "vncviewer", 0 }, { "vnuma", 0 }, { "vpmu", X },
	{ "vpt_align", X }, { "vsnd", 0 }, { "vtpm", 0 }, { "vuart", 0 }, { "xen_platform_pci", X },
	{ "xend_suspend_evtchn_compat", X },
	{ 0 }
};
