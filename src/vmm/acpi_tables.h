#pragma once

#include <stdint.h>

/* Layouts of the ACPI tables we write (ACPI specification 6.2, chapter 5), and nothing else. */

struct __attribute__((packed)) acpi_rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
};
_Static_assert(sizeof(struct acpi_rsdp) == 36, "RSDP");
#define ACPI_RSDP_SHORT 20

struct __attribute__((packed)) acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
};
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI table header");

struct __attribute__((packed)) acpi_address {
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size;
	uint64_t address;
};
_Static_assert(sizeof(struct acpi_address) == 12, "generic address structure");
#define ACPI_SPACE_PORT	 1
#define ACPI_ACCESS_BYTE 1

struct __attribute__((packed)) acpi_fadt {
	struct acpi_header header;
	uint32_t facs;
	uint32_t dsdt;
	uint8_t reserved1;
	uint8_t preferred_profile;
	/* From here to the GPE blocks: not there when hardware-reduced. */
	uint16_t sci;
	uint32_t smi_command; /* a port; what to write there follows */
	uint8_t acpi_enable;
	uint8_t acpi_disable;
	uint8_t s4bios;
	uint8_t pstate_control;
	uint32_t pm1a_event;
	uint32_t pm1b_event;
	uint32_t pm1a_control;
	uint32_t pm1b_control;
	uint32_t pm2_control;
	uint32_t pm_timer;
	uint32_t gpe0;
	uint32_t gpe1;
	uint8_t pm1_event_length;
	uint8_t pm1_control_length;
	uint8_t pm2_control_length;
	uint8_t pm_timer_length;
	uint8_t gpe0_length;
	uint8_t gpe1_length;
	uint8_t gpe1_base;
	uint8_t cst_control;
	uint16_t c2_latency;
	uint16_t c3_latency;
	uint8_t flush_and_duty[6];
	uint8_t day_alarm;
	uint8_t month_alarm;
	uint8_t century; /* CMOS index */
	uint16_t boot_flags;
	uint8_t reserved2;
	uint32_t flags;
	struct acpi_address reset_register;
	uint8_t reset_value;
	uint16_t arm_boot_flags;
	uint8_t minor_revision;
	uint64_t x_facs;
	uint64_t x_dsdt;
	/* Not there when hardware-reduced. */
	struct acpi_address x_pm1a_event;
	struct acpi_address x_pm1b_event;
	struct acpi_address x_pm1a_control;
	struct acpi_address x_pm1b_control;
	struct acpi_address x_pm2_control;
	struct acpi_address x_pm_timer;
	struct acpi_address x_gpe0;
	struct acpi_address x_gpe1;
	struct acpi_address sleep_control;
	struct acpi_address sleep_status;
	char hypervisor_id[8];
};
_Static_assert(sizeof(struct acpi_fadt) == 276, "FADT revision 6");

#define ACPI_FADT_REVISION     6
#define ACPI_FADT_WBINVD       (1u << 0)
#define ACPI_FADT_C1	       (1u << 2)
#define ACPI_FADT_POWER_BUTTON (1u << 4) /* a control method device */
#define ACPI_FADT_SLEEP_BUTTON (1u << 5) /* not a fixed one */
#define ACPI_FADT_RTC_WAKE     (1u << 6) /* not in fixed registers */
#define ACPI_FADT_RESET	       (1u << 10)
#define ACPI_FADT_HW_REDUCED   (1u << 20)
#define ACPI_BOOT_LEGACY       (1u << 0) /* serial ports, floppy and the like */
#define ACPI_BOOT_8042	       (1u << 1)
#define ACPI_BOOT_NO_VGA       (1u << 2)
#define ACPI_BOOT_NO_ASPM      (1u << 4)
#define ACPI_CMOS_CENTURY      0x32
#define ACPI_NO_C2_LATENCY     101  /* above 100 us: there is no such state */
#define ACPI_NO_C3_LATENCY     1001 /* above 1000 us */

struct __attribute__((packed)) acpi_madt {
	struct acpi_header header;
	uint32_t lapic_address;
	uint32_t flags; /* bit 0: there are 8259s */
};
_Static_assert(sizeof(struct acpi_madt) == 44, "MADT");
#define ACPI_MADT_8259S 1u

struct __attribute__((packed)) acpi_madt_lapic {
	uint8_t type; /* 0 */
	uint8_t length;
	uint8_t processor_uid;
	uint8_t apic_id;
	uint32_t flags; /* bit 0: enabled */
};
_Static_assert(sizeof(struct acpi_madt_lapic) == 8, "MADT local APIC");

struct __attribute__((packed)) acpi_madt_ioapic {
	uint8_t type; /* 1 */
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
};
_Static_assert(sizeof(struct acpi_madt_ioapic) == 12, "MADT I/O APIC");

struct __attribute__((packed)) acpi_madt_lapic_nmi {
	uint8_t type; /* 4 */
	uint8_t length;
	uint8_t processor_uid; /* 0xff: all */
	uint16_t flags;
	uint8_t lint;
};
_Static_assert(sizeof(struct acpi_madt_lapic_nmi) == 6, "MADT local APIC NMI");

/* An ISA interrupt that is not the edge-triggered, active-high pin of the same number. */
struct __attribute__((packed)) acpi_madt_override {
	uint8_t type; /* 2 */
	uint8_t length;
	uint8_t bus; /* 0: ISA */
	uint8_t irq;
	uint32_t gsi;
	uint16_t flags;
};
_Static_assert(sizeof(struct acpi_madt_override) == 10, "MADT interrupt source override");
#define ACPI_LEVEL_ACTIVE_HIGH 0xdu

struct __attribute__((packed)) acpi_facs {
	char signature[4];
	uint32_t length;
	uint32_t hardware_signature;
	uint32_t waking_vector;
	uint32_t global_lock;
	uint32_t flags;
	uint64_t x_waking_vector;
	uint8_t version;
	uint8_t reserved[31];
};
_Static_assert(sizeof(struct acpi_facs) == 64, "FACS");
#define ACPI_FACS_ALIGN 64
