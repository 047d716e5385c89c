/*
 * What never differs from one VM to the next.  Numbers come from machine.h through the C
 * preprocessor (dsdt.sh); what does differ is in the SSDT that acpi.c writes.
 */
DefinitionBlock ("", "DSDT", 2, "BLKHD", "BULKHEAD", 1)
{
	/* The SSDT's: where the VMBus window above RAM starts. */
	External (\VMHB, IntObj)

	/* No \_S4: hv_balloon does without ballooning where hibernation is possible. */
	Name (\_S5, Package () { MACHINE_SLEEP_TYPE_S5, 0, 0, 0 })

	Scope (\_SB)
	{
		/* The module device: Linux takes the windows for synthetic devices from it. */
		Device (VMOD)
		{
			Name (_HID, "ACPI0004")
			Name (_UID, 0)
			Name (WNDS, ResourceTemplate ()
			{
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite, 0,
					MACHINE_VMBUS_MMIO_BASE, MACHINE_VMBUS_MMIO_LAST,
					0, MACHINE_VMBUS_MMIO_SIZE)
				/* Its usual place; _CRS fills in the one it has. */
				QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite, 0,
					MACHINE_VMBUS_HIGH_MMIO_BASE, MACHINE_VMBUS_HIGH_MMIO_LAST,
					0, MACHINE_VMBUS_HIGH_MMIO_SIZE, , , HIGH)
			})
			Method (_CRS, 0, Serialized)
			{
				CreateQWordField (WNDS, ^HIGH._MIN, HMIN)
				CreateQWordField (WNDS, ^HIGH._MAX, HMAX)
				HMIN = VMHB
				HMAX = VMHB + (MACHINE_VMBUS_HIGH_MMIO_SIZE - 1)
				Return (WNDS)
			}

			/* A method, for iasl refuses the name that drivers look for as a constant. */
			Device (VMBS)
			{
				Method (_HID) { Return ("VMBus") }
				Name (_UID, 0)
				Name (_CRS, ResourceTemplate () { })
			}
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, MACHINE_PORT_COM1, MACHINE_PORT_COM1, 1, 8)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { MACHINE_GSI_COM1 }
			})
		}

		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, MACHINE_PORT_CMOS_INDEX, MACHINE_PORT_CMOS_INDEX, 1, 2)
			})
		}

		Device (PWRB)
		{
			Name (_HID, EisaId ("PNP0C0C"))
			Name (_UID, 0)
		}

		/* Names the 16 bytes that change when the VM is a copy or goes back in time. */
		Device (VGEN)
		{
			Name (_HID, "BLKH0001")
			Name (_CID, Package () { "VMGENCTR", "VM_Gen_Counter" })
			Name (_DDN, "VM_Gen_Counter")
			Name (ADDR, Package () { MACHINE_VM_GENERATION, 0 })
		}

		/* Hardware-reduced ACPI has no SCI: events come as an interrupt of their own. */
		Device (GED)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { MACHINE_GSI_GED }
			})
			OperationRegion (EREG, SystemIO, MACHINE_PORT_GED_EVENTS, 4)
			Field (EREG, DWordAcc, NoLock, WriteAsZeros)
			{
				EVTS, 32
			}
			Method (_EVT, 1, Serialized)
			{
				Local0 = EVTS
				If (Local0 & MACHINE_GED_POWER_BUTTON)
				{
					Notify (PWRB, 0x80)
				}
				If (Local0 & MACHINE_GED_VM_GENERATION)
				{
					Notify (VGEN, 0x80)
				}
			}
		}
	}
}
