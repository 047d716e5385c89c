#pragma once

#include <stdint.h>

/*
 * Constants and layouts of the Hyper-V Top Level Functional Specification (TLFS): only what this
 * partition interface offers or must tell apart.
 */

#define HV_PAGE_SIZE 4096u

/* Reference time counts units of 100 ns. */
#define HV_TIME_UNIT_NS	       100u
#define HV_TIME_UNITS_A_SECOND 10000000u

/* CPUID leaves (TLFS 2.4). */
enum {
	HV_CPUID_VENDOR = 0x40000000,
	HV_CPUID_INTERFACE,
	HV_CPUID_VERSION,
	HV_CPUID_FEATURES,
	HV_CPUID_HINTS,
	HV_CPUID_LIMITS,
	HV_CPUID_HARDWARE,
	HV_CPUID_CPU_MANAGEMENT,
	HV_CPUID_SVM,
	HV_CPUID_NESTED,
	HV_CPUID_NESTED_OPTIMIZATIONS,
};

/* HV_CPUID_FEATURES, EAX and EBX: the partition's privileges (TLFS 4.2.2). */
#define HV_ACCESS_VP_RUNTIME	   (1u << 0)
#define HV_ACCESS_TIME_REF_COUNT   (1u << 1)
#define HV_ACCESS_SYNIC		   (1u << 2)
#define HV_ACCESS_STIMER	   (1u << 3)
#define HV_ACCESS_HYPERCALL	   (1u << 5)
#define HV_ACCESS_VP_INDEX	   (1u << 6)
#define HV_ACCESS_RESET		   (1u << 7)
#define HV_ACCESS_REFERENCE_TSC	   (1u << 9)
#define HV_ACCESS_FREQUENCIES	   (1u << 11)
#define HV_ACCESS_TSC_INVARIANT	   (1u << 15)
#define HV_POST_MESSAGES	   (1u << 4)
#define HV_SIGNAL_EVENTS	   (1u << 5)
#define HV_ENABLE_EXTENDED_CALLS   (1u << 20)
/* EDX. */
#define HV_FEATURE_FREQUENCIES	   (1u << 8)
#define HV_FEATURE_CRASH	   (1u << 10)
#define HV_FEATURE_STIMER_DIRECT   (1u << 19)
/* HV_CPUID_HINTS, EAX. */
#define HV_HINT_RESET_MSR	   (1u << 4)
#define HV_HINT_RELAXED_TIMING	   (1u << 5)
#define HV_HINT_DEPRECATE_AUTO_EOI (1u << 9)
/* EBX: how often to spin before HvCallNotifyLongSpinWait. */
#define HV_SPIN_NEVER_NOTIFY	   0xffffffffu

/* Synthetic MSRs. */
#define HV_MSR_GUEST_OS_ID    0x40000000u
#define HV_MSR_HYPERCALL      0x40000001u
#define HV_MSR_VP_INDEX	      0x40000002u
#define HV_MSR_RESET	      0x40000003u
#define HV_MSR_VP_RUNTIME     0x40000010u
#define HV_MSR_TIME_REF_COUNT 0x40000020u
#define HV_MSR_REFERENCE_TSC  0x40000021u
#define HV_MSR_TSC_FREQUENCY  0x40000022u
#define HV_MSR_APIC_FREQUENCY 0x40000023u
#define HV_MSR_VP_ASSIST_PAGE 0x40000073u
#define HV_MSR_SCONTROL	      0x40000080u
#define HV_MSR_SVERSION	      0x40000081u
#define HV_MSR_SIEFP	      0x40000082u
#define HV_MSR_SIMP	      0x40000083u
#define HV_MSR_EOM	      0x40000084u
#define HV_MSR_SINT0	      0x40000090u
#define HV_MSR_STIMER0_CONFIG 0x400000b0u /* then COUNT, then the next timer's */
#define HV_MSR_CRASH_P0	      0x40000100u
#define HV_MSR_CRASH_CTL      0x40000105u
#define HV_MSR_TSC_INVARIANT  0x40000118u

/* MSRs that place an overlay page: HYPERCALL, REFERENCE_TSC, VP_ASSIST_PAGE, SIMP, SIEFP. */
#define HV_OVERLAY_ENABLE   (1ull << 0)
#define HV_OVERLAY_GPA	    (~0xfffull)
#define HV_HYPERCALL_LOCKED (1ull << 1)

#define HV_RESET_NOW		(1ull << 0)
#define HV_TSC_INVARIANT_EXPOSE (1ull << 0)
#define HV_CRASH_PARAMETERS	5u
#define HV_CRASH_NOTIFY		(1ull << 63)
#define HV_CRASH_MESSAGE	(1ull << 62)

/* The SynIC (TLFS 11). */
#define HV_SCONTROL_ENABLE    (1ull << 0)
#define HV_SVERSION_1	      1u
#define HV_SINT_VECTOR	      0xffull
#define HV_SINT_MASKED	      (1ull << 16)
#define HV_SINT_AUTO_EOI      (1ull << 17)
#define HV_SINT_POLLING	      (1ull << 18)
#define HV_SINT_LOWEST_VECTOR 16u
#define HV_EVENT_FLAGS_COUNT  2048u /* a SINT */
#define HV_EVENT_FLAGS_BYTES  256u

#define HV_MESSAGE_NONE		 0u
#define HV_MESSAGE_HYPERVISOR	 (1u << 31) /* types that only the hypervisor sends */
#define HV_MESSAGE_TIMER_EXPIRED 0x80000010u
#define HV_MESSAGE_FLAG_PENDING	 (1u << 0)

/* A slot of the message page. */
struct hv_message {
	uint32_t type;
	uint8_t payload_size;
	uint8_t flags;
	uint8_t reserved[2];
	uint64_t sender;
	uint8_t payload[240];
};
_Static_assert(sizeof(struct hv_message) == 256, "message slot");

struct hv_timer_payload {
	uint32_t timer_index;
	uint32_t reserved;
	uint64_t expiration_time;
	uint64_t delivery_time;
};
_Static_assert(sizeof(struct hv_timer_payload) == 24, "timer message");

/* Synthetic timers (TLFS 12.3). */
#define HV_STIMER_COUNT	      4u
#define HV_STIMER_ENABLE      (1ull << 0)
#define HV_STIMER_PERIODIC    (1ull << 1)
#define HV_STIMER_LAZY	      (1ull << 2)
#define HV_STIMER_AUTO_ENABLE (1ull << 3)
#define HV_STIMER_CONFIG_BITS 0xf1fffull
#define HV_STIMER_VECTOR(c)   ((uint8_t)((c) >> 4))
#define HV_STIMER_DIRECT      (1ull << 12)
#define HV_STIMER_SINT(c)     ((unsigned int)((c) >> 16) & 0xf)

/* The reference TSC page: time = (tsc * scale >> 64) + offset, unless sequence is 0. */
struct hv_tsc_page {
	uint32_t sequence;
	uint32_t reserved;
	uint64_t scale;
	int64_t offset;
};
_Static_assert(sizeof(struct hv_tsc_page) == 24, "reference TSC page");

/* Hypercalls (TLFS 3 and appendix A). */
#define HV_CALL_NOTIFY_LONG_SPIN_WAIT  0x0008u
#define HV_CALL_POST_MESSAGE	       0x005cu
#define HV_CALL_SIGNAL_EVENT	       0x005du
#define HV_EXT_CALL_QUERY_CAPABILITIES 0x8001u
#define HV_EXT_CALL_MEMORY_HEAT_HINT   0x8003u

/* What HvExtCallQueryCapabilities tells of. */
#define HV_EXT_CAPABILITY_COLD_DISCARD (1ull << 8)

/* The control word. */
#define HV_CONTROL_CODE	     0xffffull
#define HV_CONTROL_FAST	     (1ull << 16)
/* Of a rep call: how many elements, and the first that is left to do. */
#define HV_CONTROL_REP_COUNT (0xfffull << 32)
#define HV_CONTROL_REP_START (0xfffull << 48)
#define HV_REP_COUNT(c)	     ((unsigned int)((c) >> 32) & 0xfff)
#define HV_REP_START(c)	     ((unsigned int)((c) >> 48) & 0xfff)
/* The elements done, in a rep call's result. */
#define HV_RESULT_REPS(n)    ((uint64_t)(n) << 32)

enum {
	HV_STATUS_SUCCESS = 0,
	HV_STATUS_INVALID_HYPERCALL_CODE = 2,
	HV_STATUS_INVALID_HYPERCALL_INPUT = 3,
	HV_STATUS_INVALID_ALIGNMENT = 4,
	HV_STATUS_INVALID_PARAMETER = 5,
	HV_STATUS_ACCESS_DENIED = 6,
	HV_STATUS_INVALID_CONNECTION_ID = 0x12,
	HV_STATUS_INSUFFICIENT_BUFFERS = 0x13,
};

struct hv_input_post_message {
	uint32_t connection_id;
	uint32_t reserved;
	uint32_t message_type;
	uint32_t payload_size;
	uint8_t payload[240];
};
_Static_assert(sizeof(struct hv_input_post_message) == 256, "HvCallPostMessage input");

struct hv_input_signal_event {
	uint32_t connection_id;
	uint16_t flag_number;
	uint16_t reserved;
};
_Static_assert(sizeof(struct hv_input_signal_event) == 8, "HvCallSignalEvent input");

/* HvExtCallMemoryHeatHint (Linux include/asm-generic/hyperv-tlfs.h, struct hv_memory_hint): the
 * kind, then HV_GPA_PAGE_RANGE words. */
#define HV_HEAT_HINT_COLD_DISCARD    2ull
#define HV_PAGE_RANGE_ADDITIONAL(r)  ((r)&0x7ff)
#define HV_PAGE_RANGE_LARGE	     (1ull << 11)
#define HV_PAGE_RANGE_1G	     (1ull << 12) /* of a large one; else 2 MiB */
#define HV_PAGE_RANGE_LARGE_RESERVED 0x1fe000ull
#define HV_PAGE_RANGE_BASE(r)	     ((r) & ~0xfffull)
#define HV_PAGE_RANGE_LARGE_BASE(r)  ((r) & ~0x1fffffull)
