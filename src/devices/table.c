#include "devices/table.h"

#include <string.h>

#include "base/checked.h"

static const struct device_ops *const devices[] = {
	&uart_device,	     &power_device,	    &ged_device,	  &cmos_device,
	&debug_exit_device,  &storvsp_device,	    &hvsock_device,	  &integration_device,
	&memory_device,	     &netvsp_device,	    &display_device,	  &i8042_device,
	&host_bridge_device, &reset_control_device, &firmware_log_device, &tulip_device,
	&ide_device,	     &vga_device,	    &floppy_device,	  &piix4_isa_device,
	&piix4_pm_device,
};

const struct device_ops *device_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LENGTH(devices); i++) {
		if (strcmp(devices[i]->name, name) == 0)
			return devices[i];
	}
	return NULL;
}
