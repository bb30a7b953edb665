# libhcs_interceptor.so: preloaded into users' containers; needs nothing but the C library.
INTERCEPTOR = $(BUILD)/interceptor/libhcs_interceptor.so
ALL += $(INTERCEPTOR)

INTERCEPTOR_PARTS = account blocks cards config connection debug graphs handles hooks_acl \
                    hooks_acl_pools hooks_acl_work hooks_cnrt hooks_cnrt_pools hooks_cuda \
                    hooks_cuda_lookup hooks_cuda_pools hooks_cuda_work hooks_hip hooks_hip_pools \
                    hooks_hip_work hooks_imports hooks_management hooks_musa \
                    hooks_musa_lookup hooks_musa_pools hooks_nvml ledger ledger_file lock objects \
                    overhead pools process report share symbols table
INTERCEPTOR_OBJECTS = $(INTERCEPTOR_PARTS:%=$(BUILD)/interceptor/%.o)

# As one unit: what a hook calls on its way is a few instructions each, in many small functions.
PART_CFLAGS = -flto

$(BUILD)/interceptor/%.o: interceptor/%.c $(wildcard interceptor/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(PART_CFLAGS) $(WARNINGS) -fPIC -fvisibility=hidden \
	  -include interceptor/old_libc.h -c -o $@ $<

# dlsym must jump to the real one, not call it, whatever CFLAGS say (see symbols.c); and sanitizers
# look up symbols before they are ready for code that they check.
$(BUILD)/interceptor/symbols.o $(BUILD)/interceptor/objects.o: \
  PART_CFLAGS = -O2 -fno-lto -foptimize-sibling-calls -fno-stack-protector -fno-sanitize=all

$(INTERCEPTOR): $(INTERCEPTOR_OBJECTS) interceptor/exports.map
	$(CC) $(CFLAGS) -flto -flto-partition=one -fPIC -shared -Wl,-soname,$(@F) \
	  -Wl,-z,defs -Wl,-z,now -Wl,-Bsymbolic -Wl,--version-script=interceptor/exports.map \
	  -o $@ $(INTERCEPTOR_OBJECTS) -ldl -pthread
