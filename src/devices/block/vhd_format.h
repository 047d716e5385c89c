#pragma once

/* VHD as it lies in a file (Virtual Hard Disk Image Format Specification 1.0).  Big-endian; offsets
 * and sizes are in bytes. */

#define VHD_SECTOR 512u

/* The footer: at the end of the file, and a copy at its beginning unless the disk is fixed. */
#define VHD_FOOTER_BYTES	   512u
#define VHD_FOOTER_COOKIE	   "conectix"
#define VHD_FOOTER_FEATURES	   8
#define VHD_FOOTER_VERSION	   12
#define VHD_FOOTER_DATA		   16 /* where the dynamic header is; all ones: fixed */
#define VHD_FOOTER_TIME		   24 /* seconds since 2000 */
#define VHD_FOOTER_CREATOR	   28
#define VHD_FOOTER_CREATOR_VERSION 32
#define VHD_FOOTER_CREATOR_HOST	   36
#define VHD_FOOTER_ORIGINAL	   40
#define VHD_FOOTER_SIZE		   48
#define VHD_FOOTER_GEOMETRY	   56
#define VHD_FOOTER_TYPE		   60
#define VHD_FOOTER_CHECKSUM	   64
#define VHD_FOOTER_ID		   68
#define VHD_VERSION		   0x00010000u
#define VHD_FEATURES_RESERVED	   2u	     /* always set */
#define VHD_EPOCH		   946684800 /* 2000-01-01, of a Unix clock */

enum vhd_type {
	VHD_FIXED = 2,
	VHD_DYNAMIC = 3,
	VHD_DIFFERENCING = 4,
};

/* The dynamic header. */
#define VHD_HEADER_BYTES	     1024u
#define VHD_HEADER_COOKIE	     "cxsparse"
#define VHD_HEADER_TABLE	     16
#define VHD_HEADER_VERSION	     24
#define VHD_HEADER_ENTRIES	     28
#define VHD_HEADER_BLOCK	     32
#define VHD_HEADER_CHECKSUM	     36
#define VHD_HEADER_PARENT_ID	     40
#define VHD_HEADER_PARENT_TIME	     56
#define VHD_HEADER_PARENT_NAME	     64 /* UTF-16, 512 bytes */
#define VHD_HEADER_PARENT_NAME_BYTES 512
#define VHD_HEADER_LOCATORS	     576
#define VHD_LOCATORS		     8
#define VHD_LOCATOR_BYTES	     24
#define VHD_LOCATOR_SPACE	     4
#define VHD_LOCATOR_LENGTH	     8
#define VHD_LOCATOR_OFFSET	     16
/* Platform codes: relative and absolute paths in UTF-16, little-endian; a URL in UTF-8. */
#define VHD_PLATFORM_W2RU	     0x57327275u
#define VHD_PLATFORM_W2KU	     0x57326b75u
#define VHD_PLATFORM_MACX	     0x4d616358u

/* The block allocation table: for each block the sector where its bitmap begins. */
#define VHD_UNUSED 0xffffffffu

#define VHD_DISK_MAX (2040ull << 30)
