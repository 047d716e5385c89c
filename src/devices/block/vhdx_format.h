#pragma once

/* VHDX as it lies in a file (MS-VHDX 2).  Little-endian; offsets are in bytes. */

#define VHDX_MIB  (1ull << 20)
#define VHDX_PAGE 4096u /* what headers and the log are made of */

#define VHDX_SIGNATURE	      "vhdxfile"
#define VHDX_CREATOR	      8 /* UTF-16, up to 256 characters */
#define VHDX_HEADER_OFFSET(n) ((1ull + (n)) * (64u << 10))
#define VHDX_REGION_OFFSET(n) ((3ull + (n)) * (64u << 10))
#define VHDX_TABLE_BYTES      (64u << 10) /* a region table, and the metadata table */
#define VHDX_TABLE_ENTRIES    2047u
#define VHDX_TABLE_ENTRY      32u

/* The header (2.2.2). */
#define VHDX_HEADER_SIGNATURE	"head"
#define VHDX_HEADER_CHECKSUM	4
#define VHDX_HEADER_SEQUENCE	8
#define VHDX_HEADER_FILE_WRITE	16
#define VHDX_HEADER_DATA_WRITE	32
#define VHDX_HEADER_LOG		48
#define VHDX_HEADER_LOG_VERSION 64
#define VHDX_HEADER_VERSION	66
#define VHDX_HEADER_LOG_LENGTH	68
#define VHDX_HEADER_LOG_OFFSET	72

/* The region table (2.2.3): a header of 16 bytes, then entries. */
#define VHDX_REGION_SIGNATURE "regi"
#define VHDX_REGION_CHECKSUM  4
#define VHDX_REGION_COUNT     8
#define VHDX_REGION_ENTRIES   16
#define VHDX_REGION_BAT                                                                            \
	GUID_INIT(0x2dc27766, 0xf623, 0x4200, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08)
#define VHDX_REGION_METADATA                                                                       \
	GUID_INIT(0x8b7ca206, 0x4790, 0x4b9a, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e)

/* The log (2.3): an entry is sectors of 4096 bytes, descriptors before data. */
#define VHDX_LOG_SIGNATURE	 "loge"
#define VHDX_LOG_CHECKSUM	 4
#define VHDX_LOG_LENGTH		 8
#define VHDX_LOG_TAIL		 12
#define VHDX_LOG_SEQUENCE	 16
#define VHDX_LOG_DESCRIPTORS	 24
#define VHDX_LOG_GUID		 32
#define VHDX_LOG_FLUSHED	 48
#define VHDX_LOG_LAST		 56
#define VHDX_LOG_HEADER		 64
#define VHDX_LOG_DESCRIPTOR	 32
#define VHDX_DESCRIPTOR_DATA	 "desc"
#define VHDX_DESCRIPTOR_ZERO	 "zero"
#define VHDX_DESCRIPTOR_TRAILING 4 /* data: the page's last 4 bytes */
#define VHDX_DESCRIPTOR_LEADING	 8 /* data: its first 8; zero: the length */
#define VHDX_DESCRIPTOR_OFFSET	 16
#define VHDX_DESCRIPTOR_SEQUENCE 24
#define VHDX_LOG_DATA		 "data"
#define VHDX_LOG_DATA_HIGH	 4
#define VHDX_LOG_DATA_BYTES	 8 /* 4084 of them */
#define VHDX_LOG_DATA_LOW	 4092

/* BAT entries (2.5.1): a state, and the offset in mebibytes. */
#define VHDX_BAT_STATE	  7ull
#define VHDX_BAT_RESERVED 0xffff8ull
#define VHDX_BAT_OFFSET	  (~0xfffffull)

enum vhdx_block_state {
	VHDX_NOT_PRESENT = 0,
	VHDX_UNDEFINED = 1,
	VHDX_ZERO = 2,
	VHDX_UNMAPPED = 3,
	VHDX_UNMAPPED_OLD = 5, /* as a draft of the format had it */
	VHDX_FULLY_PRESENT = 6,
	VHDX_PARTIALLY_PRESENT = 7,
};

#define VHDX_BITMAP_PRESENT 6u
#define VHDX_BITMAP_BYTES   VHDX_MIB /* a sector bitmap block */
#define VHDX_BITMAP_SECTORS (8 * VHDX_MIB)

/* The metadata table (2.6): a header of 32 bytes, then entries. */
#define VHDX_METADATA_SIGNATURE "metadata"
#define VHDX_METADATA_COUNT	10
#define VHDX_METADATA_ENTRIES	32
#define VHDX_METADATA_USER	0x1u
#define VHDX_METADATA_VIRTUAL	0x2u
#define VHDX_METADATA_REQUIRED	0x4u
#define VHDX_ITEM_PARAMETERS                                                                       \
	GUID_INIT(0xcaa16737, 0xfa36, 0x4d43, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b)
#define VHDX_ITEM_SIZE                                                                             \
	GUID_INIT(0x2fa54224, 0xcd1b, 0x4876, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8)
#define VHDX_ITEM_DISK_ID                                                                          \
	GUID_INIT(0xbeca12ab, 0xb2e6, 0x4523, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46)
#define VHDX_ITEM_LOGICAL                                                                          \
	GUID_INIT(0x8141bf1d, 0xa96f, 0x4709, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f)
#define VHDX_ITEM_PHYSICAL                                                                         \
	GUID_INIT(0xcda348c7, 0x445d, 0x4471, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56)
#define VHDX_ITEM_LOCATOR                                                                          \
	GUID_INIT(0xa8d35f2d, 0xb30b, 0x454d, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c)
#define VHDX_LOCATOR_VHDX                                                                          \
	GUID_INIT(0xb04aefb7, 0xd19e, 0x4a81, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13)
#define VHDX_LOCATOR_COUNT   18
#define VHDX_LOCATOR_ENTRIES 20
#define VHDX_LOCATOR_ENTRY   12

#define VHDX_PARAMETER_LEAVE_ALLOCATED 0x1u
#define VHDX_PARAMETER_HAS_PARENT      0x2u

#define VHDX_BLOCK_MIN (1u << 20)
#define VHDX_BLOCK_MAX (256u << 20)
#define VHDX_DISK_MAX  (64ull << 40)
