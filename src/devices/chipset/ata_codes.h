#pragma once

/* Numbers of ATA/ATAPI-6 (and of ATA8-ACS where it names one) that drives on an IDE channel use. */

/* Registers of the command block, as offsets (ATA/ATAPI-6, 7). */
enum ata_register {
	ATA_REG_DATA = 0,
	ATA_REG_ERROR = 1, /* read; written it is the features */
	ATA_REG_COUNT = 2, /* a packet device's interrupt reason */
	ATA_REG_LOW = 3,
	ATA_REG_MID = 4, /* a packet device's byte count, with the next */
	ATA_REG_HIGH = 5,
	ATA_REG_DEVICE = 6,
	ATA_REG_STATUS = 7, /* read; written it is the command */
	ATA_REGISTERS = 8,
};

enum ata_status {
	ATA_BSY = 0x80,
	ATA_DRDY = 0x40,
	ATA_DF = 0x20,
	ATA_DSC = 0x10,
	ATA_DRQ = 0x08,
	ATA_ERR = 0x01,
};

enum ata_error {
	ATA_UNC = 0x40,	 /* data that cannot be read */
	ATA_IDNF = 0x10, /* no such sector */
	ATA_ABRT = 0x04,
};

/* What a device says in the error register once it has tested itself. */
#define ATA_DIAGNOSTIC_PASSED 0x01

enum ata_device_bits {
	ATA_DEVICE_LBA = 0x40,
	ATA_DEVICE_1 = 0x10,
	ATA_DEVICE_HEAD = 0x0f, /* or bits 27 to 24 of the address */
};

enum ata_control_bits {
	ATA_CONTROL_HOB = 0x80,	 /* the previous contents are read */
	ATA_CONTROL_SRST = 0x04, /* software reset */
	ATA_CONTROL_NIEN = 0x02, /* no interrupt */
};

/* In the count register of a packet device. */
enum ata_reason {
	ATA_REASON_COMMAND = 0x01, /* C/D: a command packet, not data */
	ATA_REASON_IN = 0x02,	   /* I/O: to the host */
};

#define ATA_FEATURE_PACKET_DMA	   0x01
#define ATA_FEATURE_PACKET_OVERLAP 0x02
#define ATA_PACKET_BYTES	   12u

/* By which a host tells devices apart after a reset. */
#define ATA_SIGNATURE_PACKET_MID  0x14
#define ATA_SIGNATURE_PACKET_HIGH 0xeb

enum ata_opcode {
	ATA_NOP = 0x00,
	ATA_DATA_SET_MANAGEMENT = 0x06,
	ATA_DEVICE_RESET = 0x08,
	ATA_RECALIBRATE = 0x10,
	ATA_READ_SECTORS = 0x20,
	ATA_READ_SECTORS_NO_RETRY = 0x21,
	ATA_READ_SECTORS_EXT = 0x24,
	ATA_READ_DMA_EXT = 0x25,
	ATA_READ_MULTIPLE_EXT = 0x29,
	ATA_WRITE_SECTORS = 0x30,
	ATA_WRITE_SECTORS_NO_RETRY = 0x31,
	ATA_WRITE_SECTORS_EXT = 0x34,
	ATA_WRITE_DMA_EXT = 0x35,
	ATA_WRITE_MULTIPLE_EXT = 0x39,
	ATA_WRITE_DMA_FUA_EXT = 0x3d,
	ATA_READ_VERIFY = 0x40,
	ATA_READ_VERIFY_NO_RETRY = 0x41,
	ATA_READ_VERIFY_EXT = 0x42,
	ATA_SEEK = 0x70,
	ATA_EXECUTE_DIAGNOSTIC = 0x90,
	ATA_INITIALIZE_PARAMETERS = 0x91,
	ATA_PACKET = 0xa0,
	ATA_IDENTIFY_PACKET = 0xa1,
	ATA_READ_MULTIPLE = 0xc4,
	ATA_WRITE_MULTIPLE = 0xc5,
	ATA_SET_MULTIPLE = 0xc6,
	ATA_READ_DMA = 0xc8,
	ATA_READ_DMA_NO_RETRY = 0xc9,
	ATA_WRITE_DMA = 0xca,
	ATA_WRITE_DMA_NO_RETRY = 0xcb,
	ATA_WRITE_MULTIPLE_FUA_EXT = 0xce,
	ATA_STANDBY_IMMEDIATE = 0xe0,
	ATA_IDLE_IMMEDIATE = 0xe1,
	ATA_STANDBY = 0xe2,
	ATA_IDLE = 0xe3,
	ATA_CHECK_POWER = 0xe5,
	ATA_SLEEP = 0xe6,
	ATA_FLUSH_CACHE = 0xe7,
	ATA_FLUSH_CACHE_EXT = 0xea,
	ATA_IDENTIFY = 0xec,
	ATA_SET_FEATURES = 0xef,
};

/* Of DATA SET MANAGEMENT. */
#define ATA_DSM_TRIM 0x01

enum ata_feature {
	ATA_ENABLE_WRITE_CACHE = 0x02,
	ATA_SET_TRANSFER_MODE = 0x03,
	ATA_DISABLE_LOOK_AHEAD = 0x55,
	ATA_KEEP_ON_RESET = 0x66,
	ATA_DISABLE_WRITE_CACHE = 0x82,
	ATA_ENABLE_LOOK_AHEAD = 0xaa,
	ATA_REVERT_ON_RESET = 0xcc,
};

/* Transfer modes: the kind in the upper bits, the mode in the lower three. */
#define ATA_MODE_PIO_DEFAULT   0x00
#define ATA_MODE_PIO	       0x08
#define ATA_MODE_MULTIWORD     0x20
#define ATA_MODE_ULTRA	       0x40
#define ATA_MODE_PIO_MAX       4
#define ATA_MODE_MULTIWORD_MAX 2
#define ATA_MODE_ULTRA_MAX     5

#define ATA_POWER_ACTIVE 0xff /* of CHECK POWER MODE */
