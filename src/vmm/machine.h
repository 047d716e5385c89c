#pragma once

#include <stdint.h>

/*
 * The fixed places of the machine that a guest is given.  Whoever emulates a part and whoever
 * describes it (ACPI, E820, the device tree) read them here.
 */

/* Guest RAM lies below the hole and, if there is more of it, from 4 GiB up. */
#define MACHINE_HOLE_START    0xe0000000ull
#define MACHINE_HOLE_END      0x100000000ull
#define MACHINE_MAX_VPS	      64u
#define MACHINE_MAX_RAM_BYTES (1ull << 38)

/* The VMBus MMIO windows: one below 4 GiB, one above RAM (see machine_high_window). */
#define MACHINE_VMBUS_MMIO_BASE	     0xf8000000ull
#define MACHINE_VMBUS_MMIO_LAST	     0xfbffffffull
#define MACHINE_VMBUS_MMIO_SIZE	     0x04000000ull
#define MACHINE_VMBUS_HIGH_MMIO_BASE 0x1000000000ull
#define MACHINE_VMBUS_HIGH_MMIO_LAST 0x103fffffffull
#define MACHINE_VMBUS_HIGH_MMIO_SIZE 0x40000000ull

/* Of a Generation 1 VM: where PCI functions may have their base addresses. */
#define MACHINE_PCI_LOW_BASE	MACHINE_HOLE_START /* up to the VMBus window */
#define MACHINE_PCI_LOW_SIZE	0x18000000ull
#define MACHINE_PCI_HIGH_BASE	0xfc000000ull /* from there up to the IOAPIC */
#define MACHINE_PCI_HIGH_SIZE	0x02c00000ull
#define MACHINE_PCI_PORTS_BASE	0x1000
#define MACHINE_PCI_PORTS_SIZE	0xf000
/* What its ACPI says of that, as Hyper-V does: one window, with the VMBus one in it. */
#define MACHINE_PCI_WINDOW_LAST 0xfebfffffull
#define MACHINE_PCI_WINDOW_SIZE 0x1ec00000ull

/* Its memory below 1 MiB: VGA's, and what the host bridge shows as firmware or as RAM. */
#define MACHINE_VGA_BASE	  0xa0000ull
#define MACHINE_SHADOW_BASE	  0xc0000ull
#define MACHINE_SHADOW_END	  0x100000ull
#define MACHINE_SHADOW_UNIT	  0x4000u
#define MACHINE_FIRMWARE_LOW_BASE 0xe0000ull /* where the firmware's end is seen, too */
#define MACHINE_FIRMWARE_LOW_SIZE 0x20000u
#define MACHINE_FIRMWARE_MAX	  0x40000u /* its end is at 4 GiB; below it lies MACHINE_TSS_BASE */

#define MACHINE_IOAPIC_BASE 0xfec00000ull
#define MACHINE_LAPIC_BASE  0xfee00000ull
/* Three pages that VMX hosts need for real-mode set-up. */
#define MACHINE_TSS_BASE    0xfffbd000ull

/* Ports. */
#define MACHINE_PORT_CMOS_INDEX	   0x70
#define MACHINE_PORT_CMOS_DATA	   0x71
#define MACHINE_PORT_HV_DOORBELL   0xe0 /* hypercall page: SignalEvent, EAX = connection id */
#define MACHINE_PORT_HV_CALL	   0xe4 /* hypercall page: every other call */
#define MACHINE_PORT_DEBUG_EXIT	   0xf4
#define MACHINE_PORT_COM1	   0x3f8
#define MACHINE_PORT_COM2	   0x2f8 /* of a Generation 1 VM */
#define MACHINE_PORT_SLEEP_CONTROL 0x600
#define MACHINE_PORT_SLEEP_STATUS  0x601
#define MACHINE_PORT_RESET	   0x602
#define MACHINE_PORT_GED_EVENTS	   0x604 /* 32 bits: which events, cleared by the read */

/* Ports of a Generation 1 VM alone. */
#define MACHINE_PORT_SYSTEM_CONTROL 0x92 /* A20 and a fast reset */
#define MACHINE_PORT_FIRMWARE_LOG   0x402
#define MACHINE_PORT_PCI_ADDRESS    0xcf8 /* its byte 0xcf9 is the reset control */
#define MACHINE_PORT_PCI_DATA	    0xcfc
#define MACHINE_PORT_RESET_CONTROL  0xcf9
#define MACHINE_PORT_APM_CONTROL    0xb2  /* where a write asks for ACPI; the port above is data */
#define MACHINE_PORT_PM		    0x600 /* where the firmware puts the PIIX4's PM block */
#define MACHINE_PORT_SMBUS	    0x700

/* Offsets in the PM block (82371AB data sheet, 7.2). */
#define MACHINE_PM_EVENT   0x0
#define MACHINE_PM_CONTROL 0x4
#define MACHINE_PM_TIMER   0x8
#define MACHINE_PM_GPE	   0xc

/* ACPI values behind those ports. */
#define MACHINE_SLEEP_TYPE_S5	  5 /* SLP_TYPx of \_S5 */
#define MACHINE_RESET_VALUE	  1
#define MACHINE_APM_ACPI_ENABLE	  0xf1
#define MACHINE_APM_ACPI_DISABLE  0xf0
#define MACHINE_PM_SLEEP_TYPE_S5  0 /* the PIIX4's */
#define MACHINE_FULL_RESET	  6 /* at the reset control */
#define MACHINE_GED_POWER_BUTTON  (1u << 0)
#define MACHINE_GED_VM_GENERATION (1u << 1)

/* Global system interrupts; all edge triggered, active high. */
#define MACHINE_GSI_COM1  4
#define MACHINE_GSI_COM2  3
#define MACHINE_GSI_GED	  9
#define MACHINE_GSI_SCI	  9 /* of a Generation 1 VM; a level */
#define MACHINE_GSI_RTC	  8
#define MACHINE_GSI_COUNT 24

/* Low memory that the loaders and tables share out among themselves. */
#define MACHINE_EBDA_START    0x9fc00ull
#define MACHINE_TABLES_BASE   0xe0000ull /* ACPI and SMBIOS, reserved in the E820 map */
#define MACHINE_TABLES_SIZE   0x20000ull
#define MACHINE_ACPI_SIZE     0x0f000ull /* what of that the ACPI tables may take */
#define MACHINE_VM_GENERATION 0xef000ull /* a page of its own, as that device's contract wants */
#define MACHINE_SMBIOS_BASE   0xf0000ull /* where guests without EFI scan for it */

/* Where real-mode code jumps to have a BIOS reset the machine. */
#define MACHINE_RESET_VECTOR 0xffff0ull

/* Where the high VMBus window starts when RAM ends at ram_end: at its usual base, or above RAM. */
static inline uint64_t machine_high_window(uint64_t ram_end)
{
	if (ram_end <= MACHINE_VMBUS_HIGH_MMIO_BASE)
		return MACHINE_VMBUS_HIGH_MMIO_BASE;
	return (ram_end + MACHINE_VMBUS_HIGH_MMIO_SIZE - 1) & ~(MACHINE_VMBUS_HIGH_MMIO_SIZE - 1);
}
