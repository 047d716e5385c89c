#pragma once

#include <assert.h>
#include <stdint.h>

#include "base/guid.h"

/*
 * What travels over a connection of hv_sock (Linux net/vmw_vsock/hyperv_transport.c).  All numbers
 * are little-endian.
 */

/* A port's service or endpoint id: the port in the first four bytes of this. */
#define HVSOCK_ID_TEMPLATE                                                                         \
	GUID_INIT(0x00000000, 0xfacb, 0x11e6, 0xbd, 0x58, 0x64, 0x00, 0x6a, 0x79, 0x86, 0xd3)

/* Where an offer's user-defined bytes say that the host connects: behind the pipe's kind, which is
 * 0, a stream of bytes. */
#define HVSOCK_USER_FROM_HOST 4

/* The payload of each in-band packet starts with this; its data follow.  One without data is the
 * sender's last. */
struct hvsock_header {
	uint32_t type;
	uint32_t data_size;
} __attribute__((packed));
static_assert(sizeof(struct hvsock_header) == 8, "wire layout");

#define HVSOCK_TYPE_DATA 1u
#define HVSOCK_DATA_MAX	 16384u
