#pragma once

#include <stdint.h>

/*
 * The dynamic memory protocol (Linux drivers/hv/hv_balloon.c): messages as they are on the ring,
 * little-endian, each alone in an in-band packet.  Memory is counted in pages of 4 KiB.
 */

#define DYNMEM_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))
#define DYNMEM_VERSION_1	     DYNMEM_VERSION(0, 3)
#define DYNMEM_VERSION_2	     DYNMEM_VERSION(1, 0)
#define DYNMEM_VERSION_3	     DYNMEM_VERSION(2, 0)

enum dynmem_type {
	DYNMEM_ERROR = 0,
	DYNMEM_VERSION_REQUEST = 1,
	DYNMEM_VERSION_RESPONSE = 2,
	DYNMEM_CAPABILITIES_REPORT = 3,
	DYNMEM_CAPABILITIES_RESPONSE = 4,
	DYNMEM_STATUS_REPORT = 5,
	DYNMEM_BALLOON_REQUEST = 6,
	DYNMEM_BALLOON_RESPONSE = 7,
	DYNMEM_UNBALLOON_REQUEST = 8,
	DYNMEM_UNBALLOON_RESPONSE = 9,
	DYNMEM_HOT_ADD_REQUEST = 10,
	DYNMEM_HOT_ADD_RESPONSE = 11,
	DYNMEM_INFO = 12, /* from version 1.0 on */
};

struct dynmem_header {
	uint16_t type;
	uint16_t size; /* of the message, with this */
	uint32_t transaction_id;
};
_Static_assert(sizeof(struct dynmem_header) == 8, "header");

/* Guest to host: may I speak this version? */
struct dynmem_version_request {
	struct dynmem_header header;
	uint32_t version;
	uint32_t flags;
};
_Static_assert(sizeof(struct dynmem_version_request) == 16, "version request");
#define DYNMEM_LAST_ATTEMPT (1u << 0)

/* The answer to that and to the capabilities: bit 0, accepted. */
struct dynmem_accept {
	struct dynmem_header header;
	uint64_t flags;
};
_Static_assert(sizeof(struct dynmem_accept) == 16, "version and capabilities response");
#define DYNMEM_ACCEPTED (1ull << 0)

struct dynmem_capabilities {
	struct dynmem_header header;
	uint64_t capabilities;
	uint64_t min_page_count;
	uint64_t max_page_number;
};
_Static_assert(sizeof(struct dynmem_capabilities) == 32, "capabilities");
#define DYNMEM_CAN_BALLOON		 (1ull << 0)
#define DYNMEM_CAN_HOT_ADD		 (1ull << 1)
/* What is added must be a multiple of so many MiB, and begin at one. */
#define DYNMEM_HOT_ADD_MIB(capabilities) (1ull << ((capabilities) >> 2 & 0xf))

/* Guest to host, about once a second. */
struct dynmem_status {
	struct dynmem_header header;
	uint64_t available;
	uint64_t committed; /* with what is ballooned out */
	uint64_t page_file_size;
	uint64_t zero_free;
	uint32_t page_file_writes;
	uint32_t io_diff;
};
_Static_assert(sizeof(struct dynmem_status) == 48, "status");

struct dynmem_balloon_request {
	struct dynmem_header header;
	uint32_t pages;
	uint32_t reserved;
};
_Static_assert(sizeof(struct dynmem_balloon_request) == 16, "balloon request");

/* Then ranges. */
struct dynmem_balloon_response {
	struct dynmem_header header;
	uint32_t reserved;
	uint32_t more_and_count; /* bit 0: not the last one; then how many ranges */
};
_Static_assert(sizeof(struct dynmem_balloon_response) == 16, "balloon response");

/* Then ranges. */
struct dynmem_unballoon_request {
	struct dynmem_header header;
	uint32_t flags; /* bit 0: not the last one */
	uint32_t range_count;
};
_Static_assert(sizeof(struct dynmem_unballoon_request) == 16, "unballoon request");
#define DYNMEM_MORE (1u << 0)

/* A range of pages: 40 bits the first, 24 bits how many. */
#define DYNMEM_RANGE(first, count) ((uint64_t)(count) << 40 | (first))
#define DYNMEM_RANGE_FIRST(range)  ((range)&0xffffffffffull)
#define DYNMEM_RANGE_COUNT(range)  ((range) >> 40)
#define DYNMEM_RANGE_MAX	   0xffffffull

/* Linux takes messages of up to a page. */
#define DYNMEM_MESSAGE_MAX 4096u
#define DYNMEM_RANGES_MAX                                                                          \
	((DYNMEM_MESSAGE_MAX - sizeof(struct dynmem_unballoon_request)) / sizeof(uint64_t))

/* Host to guest.  The form without a region: the guest makes one that covers the range. */
struct dynmem_hot_add_request {
	struct dynmem_header header;
	uint64_t range;
};
_Static_assert(sizeof(struct dynmem_hot_add_request) == 16, "hot add request");

/* Fewer pages than asked: the guest takes no more, ever; but none and not done: try again. */
struct dynmem_hot_add_response {
	struct dynmem_header header;
	uint32_t pages;
	uint32_t done;
};
_Static_assert(sizeof(struct dynmem_hot_add_response) == 16, "hot add response");

#define DYNMEM_INFO_MAX_PAGES 0u
struct dynmem_info {
	struct dynmem_header header;
	uint32_t reserved;
	uint32_t info_size; /* of what follows */
	uint32_t info_type;
	uint32_t data_size; /* of what follows */
	uint64_t max_pages;
};
_Static_assert(sizeof(struct dynmem_info) == 32, "information");
