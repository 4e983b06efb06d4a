//! Why libtorch refuses: its texts also tell where that is in TorchScript, in Python and in C++, and only some of their lines say why.

/// What the interpreter of TorchScript begins with; the exception comes last.
const INTERPRETER: &str = "The following operation failed in the TorchScript interpreter.";

/// What stands under the line of a program that failed.
const HERE: &str = "<--- HERE";

/// The exception that the interpreter says where libtorch itself failed: its message says it all.
const OF_LIBTORCH: &str = "RuntimeError";

/// Letters of a reason; a module may put whole tables into its exceptions.
const LONGEST: usize = 500;

/// The lines of libtorch's text that say why, as one: `ValueError: boom`, or `mat1 and mat2 shapes cannot be multiplied (4x2 and 3x4)`.
pub(crate) fn reason(text: &str) -> String {
    let lines: Vec<&str> = text
        .trim_start_matches("Internal torch error: ")
        .lines()
        .take_while(|line| !is_native(line))
        .collect();
    let told = match lines.iter().any(|line| line.contains(INTERPRETER)) {
        true => of_interpreter(&lines),
        // What cannot be loaded is followed by the line of the program that it is in.
        false => joined(lines.into_iter().take_while(|line| !is_source(line))),
    };
    match told.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &told[..end]),
        None => told,
    }
}

/// Whether a stack of C++ begins here.
fn is_native(line: &str) -> bool {
    line.starts_with("Exception raised from ") || line.starts_with("frame #")
}

/// Whether lines of a program begin here.
fn is_source(line: &str) -> bool {
    line.trim_end() == ":" || line.starts_with("  File \"")
}

/// The exception below the places in TorchScript and Python.
fn of_interpreter(lines: &[&str]) -> String {
    let marked = lines
        .iter()
        .rposition(|line| line.trim_end().ends_with(HERE));
    let below = &lines[marked.map_or(0, |place| place + 1)..];
    let mut numbered = below.iter().enumerate();
    let found = numbered.find_map(|(place, line)| Some((place, exception(line)?)));
    let Some((place, (class, message))) = found else {
        let last = lines.iter().rev().find(|line| !line.trim().is_empty());
        return last.map_or_else(String::new, |line| line.trim().to_owned());
    };
    let message = joined(std::iter::once(message).chain(below[place + 1..].iter().copied()));
    let told = match class == OF_LIBTORCH {
        true => message,
        false => format!("{}: {message}", class.rsplit('.').next().unwrap_or(class)),
    };
    // An exception without a message: the line that raises it says more than its class.
    let bare = told.trim_end().strip_suffix(':');
    let Some(class) = bare.filter(|class| !class.contains(' ')) else {
        return told;
    };
    let line = marked.and_then(|place| lines.get(place.checked_sub(1)?));
    match line {
        Some(line) => format!("{class} in `{}`", line.trim()),
        None => format!("{class}, without a message"),
    }
}

/// An exception's class and the first line of its message; none for lines of a program.
fn exception(line: &str) -> Option<(&str, &str)> {
    let (class, message) = line.split_once(':')?;
    let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_');
    let is_class = class.chars().all(is_name)
        && (class.contains('.') || class.ends_with("Error") || class.ends_with("Exception"));
    (is_class && (message.is_empty() || message.starts_with(' '))).then_some((class, message))
}

/// Lines as one.
fn joined<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for line in lines {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if !text.is_empty() {
            let is_ended = text.ends_with(|last: char| ".,:;!?".contains(last));
            text.push_str(if is_ended { " " } else { "; " });
        }
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // What libtorch 2.13 says.

    const RAISED: &str = r#"Internal torch error: The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, serialized code (most recent call last):
  File "code/__torch__.py", line 9, in forward
    x: Tensor) -> Tensor:
    if torch.gt(torch.size(x, 0), 0):
      ops.prim.RaiseException("boom", "builtins.ValueError")
      ~~~~~~~~~~~~~~~~~~~~~~~ <--- HERE
    else:
      pass

Traceback of TorchScript, original code (most recent call last):
  File "/tmp/make.py", line 6, in forward
    def forward(self, x: torch.Tensor):
        if x.size(0) > 0:
            raise ValueError('boom')
            ~~~~~~~~~~~~~~~~~~~~~~ <--- HERE
        return x
builtins.ValueError: boom
"#;

    const SHAPES: &str = r#"The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, serialized code (most recent call last):
  File "code/__torch__/torch/nn/modules/container/___torch_mangle_5.py", line 12, in forward
    _1 = getattr(self, "1")
    _0 = getattr(self, "0")
    _2 = (_1).forward((_0).forward(input, ), )
                       ~~~~~~~~~~~ <--- HERE
    return _2
  File "code/__torch__/torch/nn/modules/linear/___torch_mangle_3.py", line 12, in forward
    bias = self.bias
    weight = self.weight
    return torch.linear(input, weight, bias)
           ~~~~~~~~~~~~ <--- HERE

Traceback of TorchScript, original code (most recent call last):
/venv/lib/python3.11/site-packages/torch/nn/modules/linear.py(134): forward
/venv/lib/python3.11/site-packages/torch/nn/modules/module.py(1768): _slow_forward
/venv/lib/python3.11/site-packages/torch/jit/_trace.py(1022): trace
/tmp/make.py(48): <module>
RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x2 and 3x4)
"#;

    const TYPES: &str = r#"The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, serialized code (most recent call last):
  File "code/__torch__/torch/nn/modules/linear.py", line 14, in forward
    weight = self.weight
    bias = self.bias
    return torch.linear(input, weight, bias)
           ~~~~~~~~~~~~ <--- HERE

Traceback of TorchScript, original code (most recent call last):
  File "/venv/lib/python3.11/site-packages/torch/nn/modules/linear.py", line 134, in forward
        Runs the forward pass.
        """
        return F.linear(input, self.weight, self.bias)
               ~~~~~~~~ <--- HERE
RuntimeError: mat1 and mat2 must have the same dtype, but got Float and Double
"#;

    const LINES: &str = r"The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, original code (most recent call last):
        if x.size(0) > 0:
            raise RuntimeError('first line\nsecond line\n\nfourth: line')
            ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~ <--- HERE
        return x
builtins.RuntimeError: first line
second line

fourth: line
";

    const ASSERTED: &str = r"The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, original code (most recent call last):
    def forward(self, x: torch.Tensor):
        assert x.size(1) == 99
        ~~~~~~~~~~~~~~~~~~~~~~ <--- HERE
        return x
RuntimeError: AssertionError: 
";

    const MISSING: &str = "forward() is missing value for argument 'y'. Declaration: forward(__torch__.Two self, Tensor x, Tensor y) -> Tensor
Exception raised from checkAndNormalizeInputs at /__w/pytorch/pytorch/aten/src/ATen/core/function_schema_inl.h:61 (most recent call first):
frame #0: c10::Error::Error(c10::SourceLocation, std::__cxx11::basic_string<char>) + 0x9d (0x7f4ea2d66bfd in libc10.so)
frame #1: <unknown function> + 0x1b69987 (0x7f4e8f969987 in libtorch_cpu.so)
";

    const UNKNOWN: &str = r#"
Unknown builtin op: myops::twice.
Could not find any similar ops to myops::twice. This op may not exist or may not be currently supported in TorchScript.
:
  File "code/__torch__.py", line 8
  def forward(self: __torch__.M,
    x: Tensor) -> Tensor:
    return ops.myops.twice(x)
           ~~~~~~~~~~~~~~~ <--- HERE
"#;

    #[test]
    fn an_exception_of_the_module_is_named() {
        assert_eq!(reason(RAISED), "ValueError: boom");
        let own = RAISED.replace(
            "builtins.ValueError: boom",
            "__main__.MyError: of my own: 2",
        );
        assert_eq!(reason(&own), "MyError: of my own: 2");
        assert_eq!(
            reason(LINES),
            "RuntimeError: first line; second line; fourth: line"
        );
    }

    #[test]
    fn what_libtorch_misses_is_told_without_where() {
        assert_eq!(
            reason(SHAPES),
            "mat1 and mat2 shapes cannot be multiplied (4x2 and 3x4)"
        );
        assert_eq!(
            reason(TYPES),
            "mat1 and mat2 must have the same dtype, but got Float and Double"
        );
        assert_eq!(
            reason(MISSING),
            "forward() is missing value for argument 'y'. Declaration: forward(__torch__.Two self, Tensor x, Tensor y) -> Tensor"
        );
        assert_eq!(
            reason(UNKNOWN),
            "Unknown builtin op: myops::twice. Could not find any similar ops to myops::twice. \
             This op may not exist or may not be currently supported in TorchScript."
        );
    }

    #[test]
    fn an_exception_without_a_message_is_its_line() {
        assert_eq!(
            reason(ASSERTED),
            "AssertionError in `assert x.size(1) == 99`"
        );
        let told = ASSERTED.replace("AssertionError: ", "AssertionError: wants 99 columns");
        assert_eq!(reason(&told), "AssertionError: wants 99 columns");
        let raised = RAISED.replace("builtins.ValueError: boom", "builtins.ValueError: ");
        assert_eq!(reason(&raised), "ValueError in `raise ValueError('boom')`");
    }

    #[test]
    fn whatever_comes_is_told_in_one_line() {
        assert_eq!(
            reason("the truth does not go with the loss"),
            "the truth does not go with the loss"
        );
        assert_eq!(reason(""), "");
        assert_eq!(reason(INTERPRETER), INTERPRETER);
        let long = reason(&format!("{INTERPRETER}\nValueError: {}", "ä".repeat(2000)));
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert!(
            long.starts_with("ValueError: ä") && long.ends_with("ä…"),
            "{long}"
        );
    }
}
