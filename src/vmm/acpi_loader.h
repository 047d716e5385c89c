#pragma once

#include "vmm/acpi.h"
#include "vmm/acpi_builder.h"

/*
 * Writes the script by which the firmware places what the builder built and its root pointer, and
 * makes addresses and checksums right (the linker/loader interface of QEMU's fw_cfg).  *script is
 * malloc'ed; -ENOMEM.
 */
int acpi_loader_write(const struct acpi_builder *builder, uint8_t **script, size_t *size);
