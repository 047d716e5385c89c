#pragma once

#include "devices/device.h"

/* Every device there is, each defined in its own file; table.c lists them once. */
extern const struct device_ops uart_device;
extern const struct device_ops power_device;
extern const struct device_ops ged_device;
extern const struct device_ops cmos_device;
extern const struct device_ops debug_exit_device;
extern const struct device_ops hvsock_device;
extern const struct device_ops storvsp_device;
extern const struct device_ops integration_device;
extern const struct device_ops memory_device;
extern const struct device_ops netvsp_device;
extern const struct device_ops display_device;
extern const struct device_ops i8042_device;
extern const struct device_ops host_bridge_device;
extern const struct device_ops reset_control_device;
extern const struct device_ops firmware_log_device;
extern const struct device_ops tulip_device;
extern const struct device_ops ide_device;
extern const struct device_ops vga_device;
extern const struct device_ops floppy_device;
extern const struct device_ops piix4_isa_device;
extern const struct device_ops piix4_pm_device;
