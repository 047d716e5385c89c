/*
 * What never differs from one Generation 1 VM to the next: a PCI bus with a PIIX4, as devices/chipset
 * emulates it.  Numbers come from machine.h through the C preprocessor (dsdt.sh); what does differ
 * is in the SSDT that acpi_generation1.c writes.
 */

/* Where INTA# to INTD# of a slot (two hexadecimal digits) lead. */
#define SLOT(number, a, b, c, d) \
	Package () { 0x00##number##FFFF, 0, a, 0 }, \
	Package () { 0x00##number##FFFF, 1, b, 0 }, \
	Package () { 0x00##number##FFFF, 2, c, 0 }, \
	Package () { 0x00##number##FFFF, 3, d, 0 }

/* A link: what the PIIX4 leads a PIRQ to, by one of its registers (82371AB data sheet, 4.1.10). */
#define LINK(name, uid, route) \
	Device (name) \
	{ \
		Name (_HID, EisaId ("PNP0C0F")) \
		Name (_UID, uid) \
		Name (_PRS, ResourceTemplate () \
		{ \
			Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 } \
		}) \
		Method (_STA) { Return (LSTA (route)) } \
		Method (_CRS) { Return (LCRS (route)) } \
		Method (_DIS) { route |= 0x80 } \
		Method (_SRS, 1) \
		{ \
			CreateDWordField (Arg0, 5, IRQW) \
			route = IRQW \
		} \
	}

DefinitionBlock ("", "DSDT", 2, "BLKHD", "BULKHEAD", 1)
{
	/* The SSDT's: where the VMBus window above RAM starts, and where the VM generation id is. */
	External (\VMHB, IntObj)
	External (\VGIA, IntObj)

	/* No \_S4: hv_balloon does without ballooning where hibernation is possible. */
	Name (\_S5, Package () { MACHINE_PM_SLEEP_TYPE_S5, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_BBN, 0)
			Name (WNDS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 0xff, 0, 0x100)
				IO (Decode16, MACHINE_PORT_PCI_ADDRESS, MACHINE_PORT_PCI_ADDRESS, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0000, 0x0cf7, 0, 0x0cf8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0d00, 0xffff, 0, 0xf300)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					Cacheable, ReadWrite, 0, 0xa0000, 0xbffff, 0, 0x20000)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite, 0,
					MACHINE_PCI_LOW_BASE, MACHINE_PCI_WINDOW_LAST,
					0, MACHINE_PCI_WINDOW_SIZE)
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

			Name (_PRT, Package ()
			{
				SLOT (01, LNKA, LNKB, LNKC, LNKD),
				SLOT (02, LNKB, LNKC, LNKD, LNKA),
				SLOT (03, LNKC, LNKD, LNKA, LNKB),
				SLOT (04, LNKD, LNKA, LNKB, LNKC),
				SLOT (05, LNKA, LNKB, LNKC, LNKD),
				SLOT (06, LNKB, LNKC, LNKD, LNKA),
				/* The PIIX4's power management raises the SCI, whatever PIRQC# is. */
				Package () { 0x0007FFFF, 0, 0, MACHINE_GSI_SCI },
				Package () { 0x0007FFFF, 1, LNKD, 0 },
				Package () { 0x0007FFFF, 2, LNKA, 0 },
				Package () { 0x0007FFFF, 3, LNKB, 0 },
				SLOT (08, LNKD, LNKA, LNKB, LNKC),
				SLOT (09, LNKA, LNKB, LNKC, LNKD),
				SLOT (0A, LNKB, LNKC, LNKD, LNKA),
				SLOT (0B, LNKC, LNKD, LNKA, LNKB),
				SLOT (0C, LNKD, LNKA, LNKB, LNKC),
				SLOT (0D, LNKA, LNKB, LNKC, LNKD),
				SLOT (0E, LNKB, LNKC, LNKD, LNKA),
				SLOT (0F, LNKC, LNKD, LNKA, LNKB)
			})

			/*
			 * Without windows of its own: Linux takes those of the bus, in which the display's
			 * memory lies.  _HID is a method, for iasl refuses the name that drivers look for as
			 * a constant.
			 */
			Device (VMBS)
			{
				Method (_HID) { Return ("VMBus") }
				Name (_UID, 0)
				Name (_CRS, ResourceTemplate () { })
			}

			Device (ISA)
			{
				Name (_ADR, 0x00070000)
				OperationRegion (RTEG, PCI_Config, 0x60, 4)

				Device (COM1)
				{
					Name (_HID, EisaId ("PNP0501"))
					Name (_UID, 1)
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x3f8, 0x3f8, 0, 8)
						IRQNoFlags () { 4 }
					})
				}

				Device (COM2)
				{
					Name (_HID, EisaId ("PNP0501"))
					Name (_UID, 2)
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x2f8, 0x2f8, 0, 8)
						IRQNoFlags () { 3 }
					})
				}

				Device (RTC)
				{
					Name (_HID, EisaId ("PNP0B00"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x70, 0x70, 0, 2)
						IRQNoFlags () { MACHINE_GSI_RTC }
					})
				}

				Device (KBD)
				{
					Name (_HID, EisaId ("PNP0303"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x60, 0x60, 0, 1)
						IO (Decode16, 0x64, 0x64, 0, 1)
						IRQNoFlags () { 1 }
					})
				}

				Device (MOU)
				{
					Name (_HID, EisaId ("PNP0F13"))
					Name (_CRS, ResourceTemplate ()
					{
						IRQNoFlags () { 12 }
					})
				}

				Device (FDC)
				{
					Name (_HID, EisaId ("PNP0700"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x3f0, 0x3f0, 0, 6)
						IO (Decode16, 0x3f7, 0x3f7, 0, 1)
						IRQNoFlags () { 6 }
						DMA (Compatibility, NotBusMaster, Transfer8) { 2 }
					})
				}

				Device (DMAC)
				{
					Name (_HID, EisaId ("PNP0200"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x00, 0x00, 0, 0x10)
						IO (Decode16, 0x81, 0x81, 0, 0x0f)
						IO (Decode16, 0xc0, 0xc0, 0, 0x20)
						DMA (Compatibility, NotBusMaster, Transfer8_16) { 4 }
					})
				}

				Device (PIC)
				{
					Name (_HID, EisaId ("PNP0000"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x20, 0x20, 0, 2)
						IO (Decode16, 0xa0, 0xa0, 0, 2)
						IO (Decode16, 0x4d0, 0x4d0, 0, 2)
						IRQNoFlags () { 2 }
					})
				}

				Device (PIT)
				{
					Name (_HID, EisaId ("PNP0100"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x40, 0x40, 0, 4)
						IRQNoFlags () { 0 }
					})
				}

				/* Ports that are nobody else's, so that nobody is given them. */
				Device (BRD)
				{
					Name (_HID, EisaId ("PNP0C02"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x92, 0x92, 0, 1)
						IO (Decode16, MACHINE_PORT_APM_CONTROL, MACHINE_PORT_APM_CONTROL, 0, 2)
						IO (Decode16, MACHINE_PORT_HV_DOORBELL, MACHINE_PORT_HV_DOORBELL, 0, 8)
						IO (Decode16, MACHINE_PORT_DEBUG_EXIT, MACHINE_PORT_DEBUG_EXIT, 0, 1)
						IO (Decode16, 0x510, 0x510, 0, 0x0c)
						IO (Decode16, MACHINE_PORT_PM, MACHINE_PORT_PM, 0, 0x40)
						IO (Decode16, MACHINE_PORT_SMBUS, MACHINE_PORT_SMBUS, 0, 0x10)
					})
				}
			}
		}

		Field (PCI0.ISA.RTEG, ByteAcc, NoLock, Preserve)
		{
			PRQA, 8, PRQB, 8, PRQC, 8, PRQD, 8
		}

		/* Bit 7 of a route: it leads nowhere. */
		Method (LSTA, 1)
		{
			If (Arg0 & 0x80)
			{
				Return (0x09)
			}
			Return (0x0b)
		}

		Name (IRQS, ResourceTemplate ()
		{
			Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 0 }
		})
		Method (LCRS, 1, Serialized)
		{
			CreateDWordField (IRQS, 5, IRQW)
			IRQW = 0
			If (!(Arg0 & 0x80))
			{
				IRQW = Arg0
			}
			Return (IRQS)
		}

		LINK (LNKA, 1, PRQA)
		LINK (LNKB, 2, PRQB)
		LINK (LNKC, 3, PRQC)
		LINK (LNKD, 4, PRQD)

		/* Names the 16 bytes that change when the VM is a copy or goes back in time. */
		Device (VGEN)
		{
			Name (_HID, "BLKH0001")
			Name (_CID, Package () { "VMGENCTR", "VM_Gen_Counter" })
			Name (_DDN, "VM_Gen_Counter")
			Name (PLCE, Package () { 0, 0 })
			Method (ADDR, 0, Serialized)
			{
				PLCE [0] = VGIA
				Return (PLCE)
			}
		}
	}
}
