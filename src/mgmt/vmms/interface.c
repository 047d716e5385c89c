#include "mgmt/vmms/interface.h"

#include "base/checked.h"
#include "base/varlink.h"
#include "mgmt/vmms/forward.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms_interface_text.h"

/* clang-format off */
#define FIELDS(name_, right_, handle_, ...) \
	name_, request_begin, &(const struct vmms_method){.name = name_, .right = ACCESS_##right_, .handle = handle_, __VA_ARGS__}
#define METHOD(...) {FIELDS(__VA_ARGS__), .refused = request_refused}
#define MORE(...)   {FIELDS(__VA_ARGS__), .refused = request_refused, .needs_more = true} /* only for who takes more than one reply */
#define HOST   .no_vm = true
#define TURN   .turn = true, .mutates = true
#define ACTS   .mutates = true

static const struct varlink_method methods[] = {
	METHOD("ShowHost", CONNECT, method_show_host, HOST),
	MORE("WatchEvents", CONNECT, method_watch_events, HOST),
	METHOD("GetMetrics", ADMINISTER, method_get_metrics, HOST),
	METHOD("CheckHost", ADMINISTER, method_check_host, HOST),
	METHOD("CreateImage", ADMINISTER, method_image, HOST, ACTS, .data = &image_create),
	METHOD("GetImage", ADMINISTER, method_image, HOST, .data = &image_info),
	METHOD("CheckImage", ADMINISTER, method_image, HOST, .data = &image_check),
	METHOD("ConvertImage", ADMINISTER, method_image, HOST, ACTS, .data = &image_convert),
	METHOD("ResizeImage", ADMINISTER, method_image, HOST, ACTS, .data = &image_resize),
	METHOD("CompactImage", ADMINISTER, method_image, HOST, ACTS, .data = &image_compact),
	METHOD("ShowTrace", ADMINISTER, method_show_trace, HOST),
	METHOD("MeasureVM", CONNECT, method_measure),
	METHOD("ResetMeasureVM", OPERATE, method_reset_measure, ACTS),
	METHOD("CreateVM", ADMINISTER, method_create, HOST, ACTS),
	METHOD("ListVMs", CONNECT, method_list, HOST),
	METHOD("GetVM", CONNECT, method_get),
	METHOD("RemoveVM", ADMINISTER, method_remove, TURN),
	METHOD("SetVM", ADMINISTER, method_set, TURN),
	METHOD("RenameVM", ADMINISTER, method_rename, TURN),
	METHOD("AttachDisk", ADMINISTER, method_attach_disk, TURN),
	METHOD("DetachDisk", ADMINISTER, method_detach_disk, TURN),
	METHOD("SetDisk", ADMINISTER, method_set_disk, TURN),
	METHOD("ChangeMedium", ADMINISTER, method_change_medium, TURN),
	METHOD("AttachController", ADMINISTER, method_attach_controller, TURN),
	METHOD("DetachController", ADMINISTER, method_detach_controller, TURN),
	METHOD("AttachNic", ADMINISTER, method_attach_nic, TURN),
	METHOD("DetachNic", ADMINISTER, method_detach_nic, TURN),
	METHOD("SetNic", ADMINISTER, method_set_nic, TURN),
	METHOD("StartVM", OPERATE, method_start, TURN),
	METHOD("StopVM", OPERATE, method_stop, ACTS),
	METHOD("RestartVM", OPERATE, method_restart, ACTS),
	METHOD("PauseVM", OPERATE, method_pause, TURN),
	METHOD("ResumeVM", OPERATE, method_resume, TURN),
	METHOD("SaveVM", OPERATE, method_save, TURN),
	METHOD("DiscardVM", OPERATE, method_discard, TURN),
	METHOD("WaitVM", CONNECT, method_wait),
	METHOD("ShutDownHost", ADMINISTER, method_shut_down_host, HOST, ACTS),
	METHOD("OpenConsole", OPERATE, forward_call, ACTS, .may_only_read = true),
	METHOD("WriteConsole", OPERATE, forward_call),
	METHOD("Inspect", CONNECT, forward_call),
	METHOD("Counters", CONNECT, forward_call),
	METHOD("Nmi", OPERATE, forward_call, ACTS),
	METHOD("PowerButton", OPERATE, forward_call, ACTS),
	METHOD("Memory", CONNECT, forward_call),
	METHOD("SetMemory", ADMINISTER, forward_call, ACTS),
	METHOD("Services", CONNECT, forward_call),
	METHOD("Shutdown", OPERATE, forward_call, ACTS),
	METHOD("GetKvp", CONNECT, forward_call),
	METHOD("SetKvp", OPERATE, forward_call, ACTS),
	METHOD("RemoveKvp", OPERATE, forward_call, ACTS),
	METHOD("ListKvp", CONNECT, forward_call),
	METHOD("GetIp", CONNECT, forward_call),
	METHOD("SetIp", OPERATE, forward_call, ACTS),
	METHOD("Freeze", OPERATE, forward_call, ACTS),
	METHOD("Thaw", OPERATE, forward_call, ACTS),
	METHOD("CopyFile", OPERATE, forward_call, ACTS),
	METHOD("StartTrace", ADMINISTER, forward_call, ACTS),
	METHOD("StopTrace", ADMINISTER, forward_call, ACTS),
	METHOD("Screenshot", CONNECT, forward_call),
	METHOD("ReadText", CONNECT, forward_call),
	METHOD("TypeKeys", OPERATE, forward_call, ACTS),
};
/* clang-format on */

static const struct varlink_interface interfaces[] = {
	{"io.bulkhead.VMMS", vmms_interface_text, methods, ARRAY_LENGTH(methods)},
};

static const struct varlink_service service = {
	.vendor = "Bulkhead",
	.product = "bulkhead-vmms",
	.version = BULKHEAD_VERSION,
	.url = "",
	.interfaces = interfaces,
	.interface_count = ARRAY_LENGTH(interfaces),
};

const struct varlink_service *vmms_interface(void)
{
	return &service;
}
