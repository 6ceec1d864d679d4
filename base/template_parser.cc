#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "base/template_tree.h"

namespace tidewright::base::internal {
namespace {

constexpr int kMaxDepth = 100;

struct Token {
  enum class Kind { kEnd, kField, kDot, kVariable, kWord, kLiteral, kOpen, kClose, kPipe, kDeclare, kAssign, kComma };
  Kind kind = Kind::kEnd;
  std::string text;
  TemplateValue value;
  TemplatePosition at;
  bool space_before = false;
};

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWordStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0; }
bool IsWordPart(char c) { return IsWordStart(c) || IsDigit(c); }

void AppendUtf8(uint32_t rune, std::string* out) {
  if (rune < 0x80) {
    out->push_back(static_cast<char>(rune));
  } else if (rune < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (rune >> 6)));
    out->push_back(static_cast<char>(0x80 | (rune & 0x3F)));
  } else if (rune < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (rune >> 12)));
    out->push_back(static_cast<char>(0x80 | ((rune >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (rune & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | (rune >> 18)));
    out->push_back(static_cast<char>(0x80 | ((rune >> 12) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | ((rune >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (rune & 0x3F)));
  }
}

// Splits template text into runs of text and the tokens of actions, one action at a time.
class Lexer {
 public:
  Lexer(std::string_view text, std::string_view left, std::string_view right)
      : text_(text), left_(left), right_(right) {}

  bool AtEnd() const { return pos_ >= text_.size(); }
  TemplatePosition position() const { return at_; }

  // The text up to the next action or the end, trimmed as the markers around it ask.
  std::string NextText() {
    size_t begin = pos_;
    if (trim_next_) {
      while (begin < text_.size() && IsSpace(text_[begin])) ++begin;
    }
    size_t end = text_.find(left_, pos_);
    if (end == std::string_view::npos) end = text_.size();
    size_t stop = end;
    if (HasLeftTrim(end)) {
      while (stop > begin && IsSpace(text_[stop - 1])) --stop;
    }
    std::string run(begin < stop ? text_.substr(begin, stop - begin) : std::string_view());
    MoveTo(end);
    trim_next_ = false;
    return run;
  }

  // The tokens of the action that starts here. Empty for a comment.
  Result<std::vector<Token>> NextAction() {
    TemplatePosition start = at_;
    bool trim = HasLeftTrim(pos_);
    MoveTo(pos_ + left_.size() + (trim ? 1 : 0));
    TW_ASSIGN_OR_RETURN(bool comment, SkipComment());
    if (comment) return std::vector<Token>();
    std::vector<Token> tokens;
    while (true) {
      bool space = SkipSpace();
      if (CloseAction(space)) break;
      if (AtEnd()) return TemplateError(start, "the action is not closed by " + std::string(right_));
      TW_ASSIGN_OR_RETURN(Token token, NextToken());
      token.space_before = space;
      tokens.push_back(std::move(token));
    }
    if (tokens.empty()) return TemplateError(start, "the action is empty");
    Token end;
    end.at = at_;
    end.space_before = true;
    tokens.push_back(std::move(end));
    return tokens;
  }

 private:
  bool StartsWith(size_t pos, std::string_view what) const { return text_.substr(pos, what.size()) == what; }

  bool HasLeftTrim(size_t pos) const {
    if (pos >= text_.size() || !StartsWith(pos, left_)) return false;
    size_t after = pos + left_.size();
    return after + 1 < text_.size() && text_[after] == '-' && IsSpace(text_[after + 1]);
  }

  void MoveTo(size_t pos) {
    for (; pos_ < pos && pos_ < text_.size(); ++pos_) {
      if (text_[pos_] == '\n') {
        ++at_.line;
        at_.column = 1;
      } else {
        ++at_.column;
      }
    }
  }

  bool SkipSpace() {
    size_t begin = pos_;
    size_t end = pos_;
    while (end < text_.size() && IsSpace(text_[end])) ++end;
    MoveTo(end);
    return end > begin;
  }

  // Consumes the right delimiter, if it is next.
  bool CloseAction(bool space) {
    if (AtEnd()) return false;
    if (space && text_[pos_] == '-' && StartsWith(pos_ + 1, right_)) {
      MoveTo(pos_ + 1 + right_.size());
      trim_next_ = true;
      return true;
    }
    if (!StartsWith(pos_, right_)) return false;
    MoveTo(pos_ + right_.size());
    return true;
  }

  Result<bool> SkipComment() {
    size_t start = pos_;
    while (start < text_.size() && IsSpace(text_[start])) ++start;
    if (!StartsWith(start, "/*")) return false;
    MoveTo(start);
    size_t end = text_.find("*/", start + 2);
    if (end == std::string_view::npos) return TemplateError(at_, "the comment is not closed by */");
    MoveTo(end + 2);
    bool space = SkipSpace();
    if (!CloseAction(space)) return TemplateError(at_, "a comment must be the whole action");
    return true;
  }

  std::string_view TakeWord() {
    size_t begin = pos_;
    size_t end = pos_;
    while (end < text_.size() && IsWordPart(text_[end])) ++end;
    MoveTo(end);
    return text_.substr(begin, end - begin);
  }

  Result<Token> NextToken() {
    Token token;
    token.at = at_;
    char c = text_[pos_];
    char next = pos_ + 1 < text_.size() ? text_[pos_ + 1] : '\0';
    if (c == '"' || c == '`') return StringToken();
    if (c == '\'') return RuneToken();
    if (IsDigit(c) || ((c == '-' || c == '+' || c == '.') && IsDigit(next)) ||
        ((c == '-' || c == '+') && next == '.')) {
      return NumberToken();
    }
    if (c == '.') {
      MoveTo(pos_ + 1);
      token.kind = IsWordStart(next) ? Token::Kind::kField : Token::Kind::kDot;
      if (token.kind == Token::Kind::kField) token.text = TakeWord();
      return token;
    }
    if (c == '$') {
      MoveTo(pos_ + 1);
      token.kind = Token::Kind::kVariable;
      token.text = "$" + std::string(TakeWord());
      return token;
    }
    if (IsWordStart(c)) {
      token.kind = Token::Kind::kWord;
      token.text = TakeWord();
      return token;
    }
    return PunctuationToken(token, c, next);
  }

  Result<Token> PunctuationToken(Token token, char c, char next) {
    size_t length = 1;
    switch (c) {
      case '(': token.kind = Token::Kind::kOpen; break;
      case ')': token.kind = Token::Kind::kClose; break;
      case '|': token.kind = Token::Kind::kPipe; break;
      case ',': token.kind = Token::Kind::kComma; break;
      case '=': token.kind = Token::Kind::kAssign; break;
      case ':':
        if (next != '=') return TemplateError(at_, "\":\" stands alone; := declares a variable");
        token.kind = Token::Kind::kDeclare;
        length = 2;
        break;
      default: return TemplateError(at_, "unexpected character " + Quoted(std::string_view(&c, 1)) + " in an action");
    }
    token.text = text_.substr(pos_, length);
    MoveTo(pos_ + length);
    return token;
  }

  Result<Token> StringToken() {
    Token token;
    token.kind = Token::Kind::kLiteral;
    token.at = at_;
    char quote = text_[pos_];
    std::string value;
    size_t p = pos_ + 1;
    while (p < text_.size() && text_[p] != quote) {
      if (quote == '"' && text_[p] == '\n') return TemplateError(token.at, "the string is not closed");
      if (quote == '"' && text_[p] == '\\') {
        if (!ReadEscape(&p, &value)) return TemplateError(token.at, "the string has a bad backslash escape");
        continue;
      }
      value.push_back(text_[p++]);
    }
    if (p >= text_.size()) return TemplateError(token.at, "the string is not closed");
    MoveTo(p + 1);
    token.value = TemplateValue::String(std::move(value));
    return token;
  }

  Result<Token> RuneToken() {
    Token token;
    token.kind = Token::Kind::kLiteral;
    token.at = at_;
    std::string value;
    size_t p = pos_ + 1;
    bool good = p < text_.size() && text_[p] != '\'' && static_cast<unsigned char>(text_[p]) < 0x80;
    if (good && text_[p] == '\\') {
      good = ReadEscape(&p, &value);
    } else if (good) {
      value.push_back(text_[p++]);
    }
    if (!good || value.size() != 1 || p >= text_.size() || text_[p] != '\'') {
      return TemplateError(token.at, "a character literal holds one ASCII character; use \"...\" for text");
    }
    MoveTo(p + 1);
    token.value = TemplateValue::Int(static_cast<unsigned char>(value[0]));
    return token;
  }

  // Reads one escape at *p (on the backslash).
  bool ReadEscape(size_t* p, std::string* out) {
    if (*p + 1 >= text_.size()) return false;
    char c = text_[*p + 1];
    constexpr std::string_view kNames = "abfnrtv\\\"'";
    constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\\"'";
    if (size_t i = kNames.find(c); i != std::string_view::npos) {
      out->push_back(kValues[i]);
      *p += 2;
      return true;
    }
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    size_t begin = *p + 2;
    int radix = 16;
    if (c >= '0' && c <= '7') {
      digits = 3;
      begin = *p + 1;
      radix = 8;
    }
    if (digits == 0 || begin + digits > text_.size()) return false;
    uint32_t code = 0;
    const char* first = text_.data() + begin;
    auto [end, error] = std::from_chars(first, first + digits, code, radix);
    if (error != std::errc() || end != first + digits || code > 0x10FFFF) return false;
    if (digits >= 4) {
      if (code >= 0xD800 && code < 0xE000) return false;
      AppendUtf8(code, out);
    } else {
      if (code > 0xFF) return false;
      out->push_back(static_cast<char>(code));
    }
    *p = begin + digits;
    return true;
  }

  Result<Token> NumberToken() {
    Token token;
    token.kind = Token::Kind::kLiteral;
    token.at = at_;
    size_t end = pos_ + 1;
    auto exponent_sign = [&](size_t p) {
      return (text_[p] == '+' || text_[p] == '-') && (text_[p - 1] == 'e' || text_[p - 1] == 'E');
    };
    while (end < text_.size() && (IsWordPart(text_[end]) || text_[end] == '.' || exponent_sign(end))) ++end;
    std::string spelling(text_.substr(pos_, end - pos_));
    token.text = spelling;
    int64_t integer = 0;
    double number = 0;
    if (ParseInt64(spelling[0] == '+' ? spelling.substr(1) : spelling, &integer)) {
      token.value = TemplateValue::Int(integer);
    } else if (spelling.find_first_not_of("0123456789+-.eE") == std::string::npos && ParseDouble(spelling, &number)) {
      token.value = TemplateValue::Float(number);
    } else {
      return TemplateError(at_, Quoted(spelling) + " is not a number");
    }
    MoveTo(end);
    return token;
  }

  std::string_view text_;
  std::string_view left_;
  std::string_view right_;
  size_t pos_ = 0;
  TemplatePosition at_;
  bool trim_next_ = false;
};

// What ended a list of nodes.
enum class Ending { kText, kEnd, kElse };

class Parser {
 public:
  Parser(std::string_view text, const TemplateOptions& options)
      : lexer_(text, options.left, options.right), options_(options) {}

  Result<TemplateSet> Parse() {
    variables_.push_back("$");
    for (const auto& [name, field] : options_.variables) variables_.push_back(name);
    TW_ASSIGN_OR_RETURN(Ending ending, ParseNodes(&set_.nodes));
    if (ending == Ending::kEnd) return TemplateError(action_at_, "end without if, with or range before it");
    if (ending == Ending::kElse) return TemplateError(action_at_, "else without if, with or range before it");
    set_.variables = options_.variables;
    set_.lenient = options_.lenient;
    return std::move(set_);
  }

 private:
  Result<Ending> ParseNodes(std::vector<TemplateNode>* nodes) {
    while (!lexer_.AtEnd()) {
      TemplateNode run;
      run.at = lexer_.position();
      run.text = lexer_.NextText();
      if (!run.text.empty()) nodes->push_back(std::move(run));
      if (lexer_.AtEnd()) break;
      action_at_ = lexer_.position();
      TW_ASSIGN_OR_RETURN(tokens_, lexer_.NextAction());
      next_ = 0;
      if (tokens_.empty()) continue;
      const Token& first = tokens_[0];
      if (first.kind == Token::Kind::kWord && first.text == "end") {
        ++next_;
        TW_RETURN_IF_ERROR(ExpectEnd("end"));
        return Ending::kEnd;
      }
      if (first.kind == Token::Kind::kWord && first.text == "else") {
        ++next_;
        return Ending::kElse;
      }
      TW_RETURN_IF_ERROR(ParseActionNode(nodes));
    }
    return Ending::kText;
  }

  Status ParseActionNode(std::vector<TemplateNode>* nodes) {
    TemplateNode node;
    node.at = action_at_;
    std::string word = Peek().kind == Token::Kind::kWord ? Peek().text : "";
    if (word == "if" || word == "with" || word == "range") {
      ++next_;
      TW_RETURN_IF_ERROR(ParseBlock(word, &node));
    } else if (word == "break" || word == "continue") {
      ++next_;
      if (range_depth_ == 0) return TemplateError(node.at, word + " outside of a range");
      TW_RETURN_IF_ERROR(ExpectEnd(word));
      node.kind = word == "break" ? TemplateNode::Kind::kBreak : TemplateNode::Kind::kContinue;
    } else if (word == "define") {
      ++next_;
      return ParseDefine(node.at);
    } else if (word == "template" || word == "block") {
      ++next_;
      TW_RETURN_IF_ERROR(ParseUse(word, &node));
    } else {
      node.kind = TemplateNode::Kind::kAction;
      TW_RETURN_IF_ERROR(ParsePipeline(&node.pipeline, 1));
      TW_RETURN_IF_ERROR(ExpectEnd("the pipeline"));
    }
    nodes->push_back(std::move(node));
    return Status::Ok();
  }

  Result<std::string> TakeName(const std::string& word) {
    const Token& token = Peek();
    if (token.kind != Token::Kind::kLiteral || token.value.kind() != TemplateValue::Kind::kString) {
      return TemplateError(token.at, word + " wants the name of a template in quotes, not " + Describe(token));
    }
    ++next_;
    return token.value.text();
  }

  // {{define "name"}} body {{end}}, at the top level.
  Status ParseDefine(TemplatePosition at) {
    if (depth_ > 0) return TemplateError(at, "define inside of another block; move it out");
    TW_ASSIGN_OR_RETURN(std::string name, TakeName("define"));
    TW_RETURN_IF_ERROR(ExpectEnd("define"));
    return ParseDefinition(at, name);
  }

  Status ParseDefinition(TemplatePosition at, const std::string& name) {
    if (++depth_ > kMaxDepth) return TemplateError(at, "blocks are nested too deeply");
    std::vector<std::string> outer = {"$"};
    std::swap(outer, variables_);
    const int range_depth = std::exchange(range_depth_, 0);
    std::vector<TemplateNode> body;
    TW_ASSIGN_OR_RETURN(Ending ending, ParseNodes(&body));
    if (ending != Ending::kEnd) return TemplateError(at, "the template " + Quoted(name) + " has no matching end");
    std::swap(outer, variables_);
    range_depth_ = range_depth;
    --depth_;
    set_.definitions[name] = std::move(body);
    return Status::Ok();
  }

  // {{template "name" pipeline}}; a block defines the template that it uses as well.
  Status ParseUse(const std::string& word, TemplateNode* node) {
    node->kind = TemplateNode::Kind::kTemplate;
    TW_ASSIGN_OR_RETURN(node->text, TakeName(word));
    if (word == "block" || Peek().kind != Token::Kind::kEnd) TW_RETURN_IF_ERROR(ParsePipeline(&node->pipeline, 0));
    TW_RETURN_IF_ERROR(ExpectEnd(word));
    return word == "block" ? ParseDefinition(node->at, node->text) : Status::Ok();
  }

  Status ParseBlock(const std::string& word, TemplateNode* node) {
    if (++depth_ > kMaxDepth) return TemplateError(node->at, "blocks are nested too deeply");
    size_t scope = variables_.size();
    bool range = word == "range";
    node->kind = range            ? TemplateNode::Kind::kRange
                 : word == "with" ? TemplateNode::Kind::kWith
                                  : TemplateNode::Kind::kIf;
    TW_RETURN_IF_ERROR(ParsePipeline(&node->pipeline, range ? 2 : 1));
    TW_RETURN_IF_ERROR(ExpectEnd(word));
    TemplatePosition start = node->at;
    range_depth_ += range ? 1 : 0;
    TW_ASSIGN_OR_RETURN(Ending ending, ParseNodes(&node->body));
    range_depth_ -= range ? 1 : 0;
    if (ending == Ending::kElse) {
      TW_ASSIGN_OR_RETURN(ending, ParseElse(word, node));
    }
    if (ending != Ending::kEnd) return TemplateError(start, word + " has no matching end");
    variables_.resize(scope);
    --depth_;
    return Status::Ok();
  }

  // After "else": either the rest of the action chains another block, which shares this block's end.
  Result<Ending> ParseElse(const std::string& word, TemplateNode* node) {
    if (Peek().kind == Token::Kind::kWord && (Peek().text == "if" || Peek().text == "with")) {
      std::string chained = Peek().text;
      if (word == "range" || (word == "with") != (chained == "with")) {
        return TemplateError(action_at_, "else " + chained + " cannot follow " + word);
      }
      ++next_;
      TemplateNode inner;
      inner.at = action_at_;
      TW_RETURN_IF_ERROR(ParseBlock(chained, &inner));
      node->otherwise.push_back(std::move(inner));
      return Ending::kEnd;
    }
    TW_RETURN_IF_ERROR(ExpectEnd("else"));
    TW_ASSIGN_OR_RETURN(Ending ending, ParseNodes(&node->otherwise));
    if (ending == Ending::kElse) return TemplateError(action_at_, word + " has a second else");
    return ending;
  }

  const Token& Peek(size_t ahead = 0) const { return tokens_[std::min(next_ + ahead, tokens_.size() - 1)]; }

  Status ExpectEnd(const std::string& what) {
    if (Peek().kind == Token::Kind::kEnd) return Status::Ok();
    return TemplateError(Peek().at, "unexpected " + Describe(Peek()) + " after " + what);
  }

  static std::string Describe(const Token& token) {
    switch (token.kind) {
      case Token::Kind::kEnd: return "end of the action";
      case Token::Kind::kField: return Quoted("." + token.text);
      case Token::Kind::kDot: return "\".\"";
      case Token::Kind::kLiteral: return "literal " + Quoted(token.value.ToString());
      default: return Quoted(token.text);
    }
  }

  Status ParsePipeline(TemplatePipeline* pipeline, size_t max_variables) {
    pipeline->at = Peek().at;
    TW_RETURN_IF_ERROR(ParseDeclaration(pipeline, max_variables));
    while (true) {
      TemplateCommand command;
      TW_RETURN_IF_ERROR(ParseCommand(&command, pipeline->commands.empty()));
      pipeline->commands.push_back(std::move(command));
      if (Peek().kind != Token::Kind::kPipe) break;
      ++next_;
    }
    if (!pipeline->assign) {
      for (const std::string& name : pipeline->variables) variables_.push_back(name);
    }
    return Status::Ok();
  }

  Status ParseDeclaration(TemplatePipeline* pipeline, size_t max_variables) {
    if (Peek().kind != Token::Kind::kVariable) return Status::Ok();
    size_t count =
        max_variables == 2 && Peek(1).kind == Token::Kind::kComma && Peek(2).kind == Token::Kind::kVariable ? 2 : 1;
    const Token& op = Peek(count == 2 ? 3 : 1);
    if (op.kind != Token::Kind::kDeclare && op.kind != Token::Kind::kAssign) {
      if (Peek(1).kind == Token::Kind::kComma) return TemplateError(Peek(1).at, "only range takes two variables");
      return Status::Ok();
    }
    pipeline->assign = op.kind == Token::Kind::kAssign;
    pipeline->variables.push_back(Peek().text);
    if (count == 2) pipeline->variables.push_back(Peek(2).text);
    for (const std::string& name : pipeline->variables) {
      if (name == "$") return TemplateError(Peek().at, "$ cannot be assigned; write for instance $x");
      if (pipeline->assign) TW_RETURN_IF_ERROR(CheckVariable(name, Peek().at));
    }
    next_ += count == 2 ? 4 : 2;
    return Status::Ok();
  }

  Status CheckVariable(const std::string& name, TemplatePosition at) const {
    for (const std::string& known : variables_) {
      if (known == name) return Status::Ok();
    }
    return TemplateError(at, "the variable " + Quoted(name) + " is not declared");
  }

  Status ParseCommand(TemplateCommand* command, bool first) {
    command->at = Peek().at;
    while (true) {
      Token::Kind kind = Peek().kind;
      if (kind == Token::Kind::kEnd || kind == Token::Kind::kPipe || kind == Token::Kind::kClose) break;
      if (!command->operands.empty() && !Peek().space_before) {
        return TemplateError(Peek().at, "unexpected " + Describe(Peek()) + "; separate operands with spaces");
      }
      TemplateOperand operand;
      TW_RETURN_IF_ERROR(ParseOperand(&operand));
      command->operands.push_back(std::move(operand));
    }
    if (command->operands.empty()) return TemplateError(command->at, "a value is missing before " + Describe(Peek()));
    const TemplateOperand& head = command->operands[0];
    bool is_function = head.base == TemplateOperand::Base::kFunction;
    if (!is_function && !first) return TemplateError(head.at, "only a function can follow \"|\"");
    if (!is_function && head.fields.empty() && command->operands.size() > 1) {
      return TemplateError(command->operands[1].at, "only a function takes arguments");
    }
    return Status::Ok();
  }

  Status ParseOperand(TemplateOperand* operand) {
    const Token token = Peek();
    operand->at = token.at;
    ++next_;
    switch (token.kind) {
      case Token::Kind::kLiteral: operand->literal = token.value; return Status::Ok();
      case Token::Kind::kDot: operand->base = TemplateOperand::Base::kDot; return Status::Ok();
      case Token::Kind::kField:
        operand->base = TemplateOperand::Base::kDot;
        operand->fields.push_back(token.text);
        break;
      case Token::Kind::kVariable:
        TW_RETURN_IF_ERROR(CheckVariable(token.text, token.at));
        operand->base = TemplateOperand::Base::kVariable;
        operand->name = token.text;
        break;
      case Token::Kind::kWord: TW_RETURN_IF_ERROR(ParseWord(token, operand)); break;
      case Token::Kind::kOpen: TW_RETURN_IF_ERROR(ParseParentheses(operand)); break;
      default: return TemplateError(token.at, "unexpected " + Describe(token));
    }
    while (Peek().kind == Token::Kind::kField && !Peek().space_before) {
      operand->fields.push_back(Peek().text);
      ++next_;
    }
    return Status::Ok();
  }

  bool IsFunction(std::string_view name) const {
    const auto& more = options_.functions;
    return IsTemplateFunction(name) || std::find(more.begin(), more.end(), name) != more.end();
  }

  std::string KnownFunctions() const {
    std::string text =
        "and, eq, ge, gt, html, index, js, le, len, lt, ne, not, or, print, printf, println, slice, urlquery";
    for (std::string_view name : options_.functions) text += ", " + std::string(name);
    return text;
  }

  Status ParseWord(const Token& token, TemplateOperand* operand) {
    if (token.text == "true" || token.text == "false") {
      operand->literal = TemplateValue::Bool(token.text == "true");
      return Status::Ok();
    }
    if (token.text == "nil") return Status::Ok();
    if (!IsFunction(token.text)) {
      return TemplateError(token.at, Quoted(token.text) + " is not a function here; known are " + KnownFunctions() +
                                         " (a field starts with a dot)");
    }
    operand->base = TemplateOperand::Base::kFunction;
    operand->name = token.text;
    return Status::Ok();
  }

  Status ParseParentheses(TemplateOperand* operand) {
    if (++depth_ > kMaxDepth) return TemplateError(operand->at, "parentheses are nested too deeply");
    operand->base = TemplateOperand::Base::kPipeline;
    operand->pipeline = std::make_shared<TemplatePipeline>();
    TW_RETURN_IF_ERROR(ParsePipeline(operand->pipeline.get(), 0));
    if (Peek().kind != Token::Kind::kClose) return TemplateError(operand->at, "the parenthesis is not closed");
    ++next_;
    --depth_;
    return Status::Ok();
  }

  Lexer lexer_;
  const TemplateOptions& options_;
  TemplateSet set_;
  std::vector<Token> tokens_;
  size_t next_ = 0;
  TemplatePosition action_at_;
  std::vector<std::string> variables_;
  int depth_ = 0;
  int range_depth_ = 0;
};

}  // namespace

Status TemplateError(TemplatePosition at, const std::string& message) {
  return InvalidArgumentError(std::to_string(at.line) + ":" + std::to_string(at.column) + ": " + message);
}

Result<TemplateSet> ParseTemplate(std::string_view text, const TemplateOptions& options) {
  return Parser(text, options).Parse();
}

}  // namespace tidewright::base::internal
