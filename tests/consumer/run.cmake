# Installs the build, builds tests/consumer against the install tree, trains with it, reads its checkpoint, and starts the installed programs.
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result)
  if(result)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "expected exit code 0; found ${result}: ${command}")
  endif()
endfunction()

file(REMOVE_RECURSE ${work_dir})
run(${CMAKE_COMMAND} --install ${build_dir} --prefix ${work_dir}/install)
run(${CMAKE_COMMAND} -S ${source_dir} -B ${work_dir}/build -G ${generator}
  -DCMAKE_PREFIX_PATH=${work_dir}/install -DCMAKE_CXX_COMPILER=${cxx_compiler} -DCMAKE_C_COMPILER=${c_compiler}
  -DCMAKE_CXX_FLAGS=${cxx_flags})
run(${CMAKE_COMMAND} --build ${work_dir}/build)
run(${work_dir}/build/consumer --steps 3 --checkpoint-dir ${work_dir}/checkpoints)
run(${work_dir}/build/reader ${work_dir}/checkpoints/step-00000003)
run(${work_dir}/install/bin/muster verify ${work_dir}/checkpoints/step-00000003)
run(${work_dir}/install/bin/fashion_mnist --help)
