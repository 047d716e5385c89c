#pragma once

#include <assert.h>
#include <stdint.h>

/*
 * The integration components on the wire (Linux include/linux/hyperv.h and
 * include/uapi/linux/hyperv.h).  All numbers are little-endian, strings UTF-16 with a NUL.  The
 * host asks, the guest answers with the same packet.
 */

/* Before everything: a message on a pipe. */
#define IC_PIPE_DATA	     1u
#define IC_PIPE_MODE_MESSAGE 4u /* in the offer's user-defined bytes */

struct ic_version {
	uint16_t major;
	uint16_t minor;
} __attribute__((packed));

enum ic_message_type {
	IC_NEGOTIATE = 0,
	IC_HEARTBEAT = 1,
	IC_KVP = 2,
	IC_SHUTDOWN = 3,
	IC_TIMESYNC = 4,
	IC_VSS = 5,
	IC_FCOPY = 7,
};

#define IC_FLAG_TRANSACTION 1u
#define IC_FLAG_REQUEST	    2u
#define IC_FLAG_RESPONSE    4u

struct ic_header {
	uint32_t pipe_type;
	uint32_t pipe_size; /* of all that follows */
	struct ic_version framework;
	uint16_t type;
	struct ic_version version;
	uint16_t size; /* of what follows the header */
	uint32_t status;
	uint8_t transaction_id;
	uint8_t flags;
	uint8_t reserved[2];
} __attribute__((packed));
static_assert(sizeof(struct ic_header) == 28, "wire layout");

/* Followed by the framework's versions, then the message's; an answer has one of each, or none. */
struct ic_negotiate {
	uint16_t framework_count;
	uint16_t version_count;
	uint32_t reserved;
	struct ic_version versions[];
} __attribute__((packed));
static_assert(sizeof(struct ic_negotiate) == 8, "wire layout");

/* Statuses (HRESULTs) that guests answer with. */
#define IC_S_OK			  0x00000000u
#define IC_S_CONT		  0x80070103u /* no more items; no such item */
#define IC_E_FAIL		  0x80004005u
#define IC_E_NOT_SUPPORTED	  0x80070032u
#define IC_E_MACHINE_LOCKED	  0x800704f7u
#define IC_E_DEVICE_NOT_CONNECTED 0x8007048fu
#define IC_E_INVALID_ARGUMENT	  0x80070057u
#define IC_E_GUID_NOT_FOUND	  0x80041002u
#define IC_E_ALREADY_EXISTS	  0x80070050u
#define IC_E_DISK_FULL		  0x80070070u
#define IC_E_TIMEOUT		  0x800705b4u

#define IC_SHUTDOWN_FORCE     1u
#define IC_SHUTDOWN_RESTART   2u /* from 3.1 on */
#define IC_SHUTDOWN_HIBERNATE 4u /* from 3.2 on */
#define IC_SHUTDOWN_PLANNED   0x80000000u
#define IC_SHUTDOWN_MESSAGE   2048u

struct ic_shutdown {
	uint32_t reason;
	uint32_t timeout_seconds;
	uint32_t flags;
	uint8_t message[IC_SHUTDOWN_MESSAGE];
} __attribute__((packed));
static_assert(sizeof(struct ic_shutdown) == 2060, "wire layout");

#define IC_TIMESYNC_SYNC   1u /* set the clock */
#define IC_TIMESYNC_SAMPLE 2u

/* Times are in 100 ns since 1601. */
#define IC_TIME_OF_1970 116444736000000000ull

struct ic_timesync { /* 1.0 and 3.0 */
	uint64_t parent_time;
	uint64_t child_time;
	uint64_t round_trip_time;
	uint8_t flags;
} __attribute__((packed));
static_assert(sizeof(struct ic_timesync) == 25, "wire layout");

struct ic_timesync_reference { /* 4.0 */
	uint64_t parent_time;
	uint64_t reference_time; /* the partition's, at that moment */
	uint8_t flags;
	uint8_t leap_flags;
	uint8_t stratum;
	uint8_t reserved[3];
} __attribute__((packed));
static_assert(sizeof(struct ic_timesync_reference) == 22, "wire layout");

enum ic_application_state {
	IC_APPLICATION_UNKNOWN = 0,
	IC_APPLICATION_HEALTHY = 1,
	IC_APPLICATION_CRITICAL = 2,
	IC_APPLICATION_STOPPED = 3,
};

struct ic_heartbeat {
	uint64_t sequence; /* the answer has the next one */
	uint32_t application_state;
	uint32_t reserved[7];
} __attribute__((packed));
static_assert(sizeof(struct ic_heartbeat) == 40, "wire layout");

/* Sizes in bytes, the NUL included. */
#define IC_KVP_KEY_SIZE	  512u
#define IC_KVP_VALUE_SIZE 2048u

enum ic_kvp_operation {
	IC_KVP_GET,
	IC_KVP_SET,
	IC_KVP_DELETE,
	IC_KVP_ENUMERATE,
	IC_KVP_GET_IP, /* these two from 4.0 on */
	IC_KVP_SET_IP,
};

enum ic_kvp_type {
	IC_KVP_STRING = 1,
	IC_KVP_U32 = 4,
	IC_KVP_U64 = 8,
};

struct ic_kvp_value {
	uint32_t type;
	uint32_t key_size;
	uint32_t value_size;
	uint8_t key[IC_KVP_KEY_SIZE];
	uint8_t value[IC_KVP_VALUE_SIZE];
} __attribute__((packed));
static_assert(sizeof(struct ic_kvp_value) == 2572, "wire layout");

struct ic_kvp_header {
	uint8_t operation;
	uint8_t pool;
	uint16_t reserved;
} __attribute__((packed));

struct ic_kvp_item { /* set */
	struct ic_kvp_header header;
	struct ic_kvp_value value;
} __attribute__((packed));

struct ic_kvp_delete {
	struct ic_kvp_header header;
	uint32_t key_size;
	uint8_t key[IC_KVP_KEY_SIZE];
} __attribute__((packed));

struct ic_kvp_enumerate {
	struct ic_kvp_header header;
	uint32_t index;
	struct ic_kvp_value value;
} __attribute__((packed));
static_assert(sizeof(struct ic_kvp_enumerate) == 2580, "wire layout");

#define IC_IP_IPV4 1u
#define IC_IP_IPV6 2u

/* Lists of addresses are separated by ';'. */
struct ic_kvp_ip {
	uint8_t operation;
	uint8_t pool;
	uint8_t adapter[256];
	uint8_t family; /* IC_IP_ bits */
	uint8_t dhcp;
	uint8_t addresses[2048];
	uint8_t subnets[2048];
	uint8_t gateways[1024];
	uint8_t dns[2048];
} __attribute__((packed));
static_assert(sizeof(struct ic_kvp_ip) == 7428, "wire layout");

enum ic_vss_operation {
	IC_VSS_CREATE,
	IC_VSS_DELETE,
	IC_VSS_HOT_BACKUP, /* can it be frozen at all? */
	IC_VSS_GET_DM_INFO,
	IC_VSS_BACKUP_COMPLETE,
	IC_VSS_FREEZE,
	IC_VSS_THAW,
	IC_VSS_AUTO_RECOVER,
};

#define IC_VSS_NO_AUTO_RECOVERY 5u

struct ic_vss {
	uint8_t operation;
	uint8_t reserved[7];
	uint32_t flags;
} __attribute__((packed));
static_assert(sizeof(struct ic_vss) == 12, "wire layout");

enum ic_fcopy_operation {
	IC_FCOPY_START,
	IC_FCOPY_WRITE,
	IC_FCOPY_COMPLETE,
	IC_FCOPY_CANCEL,
};

#define IC_FCOPY_OVERWRITE   1u
#define IC_FCOPY_CREATE_PATH 2u
#define IC_FCOPY_PATH_SIZE   520u /* 260 units */
#define IC_FCOPY_FRAGMENT    6144u

struct ic_fcopy_header {
	uint32_t operation;
	uint8_t service_ids[32];
} __attribute__((packed));

struct ic_fcopy_start {
	struct ic_fcopy_header header;
	uint8_t file_name[IC_FCOPY_PATH_SIZE];
	uint8_t path_name[IC_FCOPY_PATH_SIZE];
	uint32_t flags;
	uint64_t file_size;
} __attribute__((packed));
static_assert(sizeof(struct ic_fcopy_start) == 1088, "wire layout");

struct ic_fcopy_write {
	struct ic_fcopy_header header;
	uint32_t reserved;
	uint64_t offset;
	uint32_t size;
	uint8_t data[IC_FCOPY_FRAGMENT];
} __attribute__((packed));
static_assert(sizeof(struct ic_fcopy_write) == 6196, "wire layout");
